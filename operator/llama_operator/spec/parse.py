"""Turn a raw LlamaDeployment into its typed spec."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from llama_operator.errors import SpecError
from llama_operator.spec import parameters
from llama_operator.spec.model import LlamaDeploymentSpec


def parse(body: Mapping[str, Any]) -> LlamaDeploymentSpec:
    """Return the spec of a raw LlamaDeployment.

    Raises:
        SpecError: naming the first field that does not hold, and why.
    """
    try:
        spec = LlamaDeploymentSpec.model_validate(body.get("spec", {}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise SpecError(f"spec{path}", message) from None
    parameters.check(spec)
    return spec
