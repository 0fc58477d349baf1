"""docs/llamadeployment.md: every field of the spec, out of the CRD's schema."""

from collections.abc import Iterator

from llama_operator import names
from llama_operator.spec.crd import structural
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.values import Schema


def markdown() -> str:
    """Return docs/llamadeployment.md."""
    lines = (
        "# LlamaDeployment",
        "",
        f"`{names.API_VERSION}`, short name `{names.SHORT_NAME}`. Generated from `spec/model.py`.",
        f"`kubectl explain {names.SHORT_NAME}.spec` shows the same.",
        "",
        "| field | type | default | what |",
        "|---|---|---|---|",
        *_rows(structural(LlamaDeploymentSpec), "spec"),
        "",
    )
    return "\n".join(lines)


def _rows(schema: Schema, path: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if "properties" in field and "x-kubernetes-preserve-unknown-fields" not in field:
            yield from _rows(field, here)
            continue
        default = "required" if name in required else _code(field.get("default"))
        yield f"| `{here}` | {_type(field)} | {default} | {field['description']} |"


def _code(value: object) -> str:
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{option}`" for option in field["enum"])
    if "x-kubernetes-int-or-string" in field:
        return "integer or string"
    low, high = field.get("minimum"), field.get("maximum")
    if low is None or high is None:
        return field["type"]
    return f"{field['type']}, {'above ' if field.get('exclusiveMinimum') else ''}{low} to {high}"
