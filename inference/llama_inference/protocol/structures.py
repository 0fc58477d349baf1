"""What a request may hold its output to, under the names of OpenAI and vLLM: JSON, a schema, a choice, a grammar.

Each kind turns its value into a `Structure`, or None where it asks for plain text. Whether a schema or expression can
be compiled is for the backend to say; here its form, its size and what it would cost are checked.
"""

import json
from collections.abc import Mapping
from typing import Final

from llama_inference.errors import InvalidRequestError
from llama_inference.protocol.kinds import Kind
from llama_inference.protocol.structure_costs import check_grammar, check_schema
from llama_inference.values import Json, Structure, StructureKind

MOST_TEXT: Final = 1 << 16  # characters of a schema, an expression or a grammar
MOST_CHOICES: Final = 512
ANY_OBJECT: Final = '{"type": "object"}'
FORMATS: Final = ("text", "json_object", "json_schema")
OUTPUTS: Final = ("json", "regex", "choice", "grammar", "json_object")


def _refused(param: str, what: str) -> Exception:
    """What to raise: of a whole field the end of a sentence, as every kind; of a field within it, the sentence."""
    inner = not param.isidentifier()
    return InvalidRequestError(f"{param} {what}", param=param) if inner else ValueError(what)


def _text(value: Json, param: str) -> str:
    if not isinstance(value, str) or not value:
        raise _refused(param, "must be a non-empty string")
    if len(value) > MOST_TEXT:
        raise _refused(param, f"must have at most {MOST_TEXT} characters, and has {len(value)}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _refused(param, "holds half of a surrogate pair, which is no text: send whole characters")
    return value


def schema(value: Json, param: str, *, lenient: bool = False) -> Structure:
    """A JSON schema, as an object or as its text.

    Raises:
        InvalidRequestError: naming `param`; ValueError with the end of that sentence, where it is a whole field.
    """
    if isinstance(value, str):
        try:
            value = json.loads(_text(value, param))
        except (ValueError, RecursionError) as error:
            raise _refused(param, f"must be a JSON schema, and is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise _refused(param, "must be a JSON schema: an object")
    check_schema(value, param)
    text = _text(json.dumps(value, ensure_ascii=False), param)  # the order of properties is that of the output
    return Structure(kind=StructureKind.JSON_SCHEMA, text=text, param=param, lenient=lenient)


def _regex(value: Json, param: str) -> Structure:
    return Structure(kind=StructureKind.REGEX, text=_text(value, param), param=param)


def _grammar(value: Json, param: str) -> Structure:
    text = _text(value, param)
    check_grammar(text, param)
    return Structure(kind=StructureKind.GRAMMAR, text=text, param=param)


def _choice(value: Json, param: str) -> Structure:
    if not isinstance(value, list) or not value or len(value) > MOST_CHOICES:
        raise _refused(param, f"must be a list of 1 to {MOST_CHOICES} strings")
    options = [json.dumps(_text(option, f"{param}[{place}]"), ensure_ascii=False) for place, option in enumerate(value)]
    text = _text("start: " + " | ".join(options), param)
    return Structure(kind=StructureKind.GRAMMAR, text=text, param=param)


def _object(value: Json, param: str) -> Structure | None:
    if not isinstance(value, bool):
        raise _refused(param, "must be true or false")
    return Structure(kind=StructureKind.JSON_SCHEMA, text=ANY_OBJECT, param=param) if value else None


def _structured_outputs(value: Json, param: str) -> Structure | None:
    given = {name: each for name, each in value.items() if each not in (None, False)} if isinstance(value, dict) else {}
    unknown = sorted(set(given) - {*OUTPUTS})
    if not isinstance(value, dict) or unknown:
        name = f"{param}.{unknown[0][:100]}" if unknown else param
        raise _refused(name, f"is not supported: {param} is an object with one of {', '.join(OUTPUTS)}")
    if len(given) != 1:
        raise _refused(param, f"must have exactly one of {', '.join(OUTPUTS)}")
    (name, asked), *_ = given.items()
    makers = {"json": schema, "regex": _regex, "choice": _choice, "grammar": _grammar, "json_object": _object}
    return makers[name](asked, f"{param}.{name}")


def _response_format(value: Json, param: str) -> Structure | None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in FORMATS:
        raise _refused(f"{param}.type" if isinstance(value, dict) else param, f"must be one of {', '.join(FORMATS)}")
    if kind == "text":
        return None
    if kind == "json_object":
        return Structure(kind=StructureKind.JSON_SCHEMA, text=ANY_OBJECT, param=f"{param}.type")
    described = value.get("json_schema")
    if not isinstance(described, dict):
        raise _refused(f"{param}.json_schema", 'must be an object, such as {"name": "…", "schema": {…}}')
    wanted = described.get("schema")
    strict = described.get("strict") is True
    return schema({"type": "object"} if wanted is None else wanted, f"{param}.json_schema.schema", lenient=not strict)


_STRING: Final[dict[str, Json]] = {"type": "string", "minLength": 1, "maxLength": MOST_TEXT}
_SCHEMA: Final[dict[str, Json]] = {"anyOf": [{"type": "object"}, _STRING]}
_CHOICE: Final[dict[str, Json]] = {"type": "array", "items": _STRING, "minItems": 1, "maxItems": MOST_CHOICES}
STRUCTURES: Final[Mapping[str, tuple[Kind, str]]] = {
    "response_format": (
        Kind(
            lambda value, _: _response_format(value, "response_format"),
            {
                "type": "object",
                "properties": {"type": {"enum": list(FORMATS)}, "json_schema": {"type": "object"}},
                "required": ["type"],
            },
        ),
        "Hold the output to JSON, or to a JSON schema.",
    ),
    "structured_outputs": (
        Kind(
            lambda value, _: _structured_outputs(value, "structured_outputs"),
            {
                "type": "object",
                "properties": {
                    "json": _SCHEMA, "regex": _STRING, "choice": _CHOICE, "grammar": _STRING,
                    "json_object": {"type": "boolean"},
                },
            },
        ),
        "Hold the output to one of json, regex, choice, grammar and json_object, as vLLM takes it.",
    ),
    "guided_json": (Kind(lambda value, _: schema(value, "guided_json"), _SCHEMA), "Hold the output to a JSON schema."),
    "guided_regex": (Kind(lambda value, _: _regex(value, "guided_regex"), _STRING), "Hold it to a regular expression."),
    "guided_choice": (Kind(lambda value, _: _choice(value, "guided_choice"), _CHOICE), "Hold it to one of these."),
    "guided_grammar": (
        Kind(lambda value, _: _grammar(value, "guided_grammar"), _STRING),
        "Hold it to a context-free grammar, Lark's or GBNF.",
    ),
}  # fmt: skip
"""Each field: its kind, and what it means."""


def take(values: dict[str, Json]) -> Structure | None:
    """Take the structure out of checked values.

    Raises:
        InvalidRequestError: there are two.
    """
    found = {name: values.pop(name, None) for name in STRUCTURES}
    asked = {name: structure for name, structure in found.items() if structure is not None}
    if len(asked) > 1:
        first, second, *_ = asked
        raise InvalidRequestError(f"give either {first} or {second}, not both", param=second)
    return next(iter(asked.values()), None)
