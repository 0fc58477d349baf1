"""What the server takes, out of its own tables, as data that the operator judges by."""

import json
from typing import Any

import click

from llama_inference.backends.abilities import HONOURED, NOTHING_ASKED
from llama_inference.cli import serve
from llama_inference.golden import prompts
from llama_inference.protocol.kinds import Kind
from llama_inference.protocol.parameters import PARAMETERS, REFUSED


def server_contract() -> str:
    """Return the file that `llama_operator.spec.parameters` judges by."""
    tables = {
        "parameters": {name: _row(row.kind) for name, row in PARAMETERS.items()},
        "refused": dict(REFUSED),
        "honoured": {name: sorted(rows) for name, rows in HONOURED.items()},
        "nothing_asked": {name: list(values) for name, values in NOTHING_ASKED.items()},
        "golden_refused": dict(prompts.REFUSED),
        "arguments": {name: _argument(row) for row in serve.params for name in row.opts},
    }
    return json.dumps(tables, indent=1, ensure_ascii=False) + "\n"


def _row(kind: Kind) -> dict[str, Any]:
    return {"schema": kind.schema, "must": _must(kind), "numeric": kind.maximum is not None}


def _must(kind: Kind) -> str:
    """Return the end of the sentence that the server refuses any value of another kind with."""
    try:
        kind.check(object(), None)
    except ValueError as error:
        return str(error)
    raise AssertionError("a kind takes whatever it is given")


def _argument(option: click.Parameter) -> dict[str, Any]:
    """Return what an option takes; of values that are text, any."""
    kind, takes_value = option.type, not (isinstance(option, click.Option) and option.is_flag)
    schema: dict[str, Any] = {}
    must = "must be text"
    if isinstance(kind, click.IntRange):
        schema = {"type": "integer", "minimum": kind.min, "maximum": kind.max}
        must = f"must be an integer from {kind.min} to {kind.max}"
    elif isinstance(kind, click.Choice):
        schema = {"enum": list(kind.choices)}
        must = f"must be one of {', '.join(map(str, kind.choices))}"
    return {"takes_value": takes_value, "schema": schema, "must": must}
