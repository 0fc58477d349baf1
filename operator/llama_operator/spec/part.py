"""What every part of the spec is made of: the base class, and fields that hold Kubernetes' own objects."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

from llama_operator.spec.values import OPEN

Open = Annotated[dict[str, Any], WithJsonSchema(OPEN)]
"""An object of Kubernetes' own."""
Words = Annotated[
    dict[str, str], WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 64})
]
"""Labels or annotations."""


class Part(BaseModel):
    """Base of every part of the spec: immutable, camelCase outside, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)
