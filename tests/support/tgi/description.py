"""TGI's own published description of its requests and answers, as JSON schemas.

huggingface_hub ships it as types that are generated from TGI's OpenAPI document. Where the document itself is at hand
(TGI_OPENAPI, default ../shared/tgi-openapi.json), it is taken from there, with the bounds that types cannot carry.
"""

import json
import os
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema
from huggingface_hub import TextGenerationInput, TextGenerationStreamOutput

Schema = dict[str, Any]
DOCUMENT: Final = Path(os.environ.get("TGI_OPENAPI") or "../shared/tgi-openapi.json")
_PLAIN: Final[Mapping[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}
# The server's own, and one that the types keep for another API.
_LEFT_OUT: Final = frozenset({"stream"})


def checks() -> tuple[Callable[[object], str | None], Callable[[object], str | None]]:
    """Return what finds fault with a request to `/generate_stream`, and with an event that it answers with."""
    request, event = schemas()
    return partial(check, request), partial(check, event)


def schemas() -> tuple[Schema, Schema]:
    """Return the schemas of a request to `/generate_stream` and of an event that it answers with."""
    if DOCUMENT.is_file():
        document = json.loads(DOCUMENT.read_text())
        return _of_document(document, "GenerateRequest"), _of_document(document, "StreamResponse")
    return _of_type(TextGenerationInput), _of_type(TextGenerationStreamOutput)


def check(schema: Schema, value: object) -> str | None:
    """Return what is wrong with a value, None when nothing is."""
    errors: Iterable[Any] = jsonschema.Draft202012Validator(schema).iter_errors(value)  # pyright: ignore[reportArgumentType]
    return next((f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors), None)


def _of_document(document: Schema, name: str) -> Schema:
    """Return one schema of an OpenAPI 3.0 document, in the words of JSON Schema."""

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(each) for each in node]
        if not isinstance(node, dict):
            return node
        row = {key: plain(value) for key, value in node.items() if key not in ("nullable", "default", "example")}
        if isinstance(row.get("exclusiveMinimum"), bool) or "minimum" in row:
            row.pop("exclusiveMinimum", None)
        if row.get("type") == "object" and "properties" in row:
            row["additionalProperties"] = False
        if "$ref" in row:
            row["$ref"] = row["$ref"].replace("#/components/schemas/", "#/$defs/")
        return {"anyOf": [row, {"type": "null"}]} if node.get("nullable") else row

    parts = {key: plain(value) for key, value in document["components"]["schemas"].items()}
    return {**parts[name], "$defs": parts}


def _of_type(kind: Any) -> Schema:
    """Return the schema of a type: nothing more than its fields, each of its own type."""
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind is Any:
        return {}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _of_type(arguments[0])}
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if each is type(None) else _of_type(each) for each in arguments]}
    hints = get_type_hints(kind)
    rows = [row for row in fields(kind) if row.name not in _LEFT_OUT]
    return {
        "type": "object",
        "properties": {row.name: _of_type(hints[row.name]) for row in rows},
        "required": [row.name for row in rows if row.default is MISSING],
        "additionalProperties": False,
    }
