"""What an output may be held to: the form of each field, and that there is one."""

import re
from typing import Any

import pytest

from llama_inference.errors import ConfigurationError, InvalidRequestError
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.parameters import check_asked
from llama_inference.protocol.predict import parse, plan
from llama_inference.protocol.structures import STRUCTURES
from llama_inference.values import ModelInfo, StructureKind

MODEL = ModelInfo(max_context=256, vocabulary=100)
CASES: dict[str, tuple[list[Any], list[Any]]] = {  # name → good, bad
    "response_format": (
        [{"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": {}}}],
        [{}, "json", {"type": "xml"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 1}}],
    ),
    "structured_outputs": (
        [
            {"json": {}},
            {"regex": "a"},
            {"choice": ["a"]},
            {"grammar": "start: x"},
            {"json_object": True, "regex": None},
        ],
        [{}, [], {"json": {}, "regex": "a"}, {"structural_tag": "x"}, {"json_object": 1}],
    ),
    "guided_json": ([{}, '{"type": "object"}'], ["", "{", 1, [], "1", {"x": "y" * (1 << 16)}]),
    "guided_regex": (["a+"], ["", 1, "a" * ((1 << 16) + 1)]),
    "guided_choice": ([["a", "b"]], [[], [""], ["a", 1], "a", ["a"] * 513]),
    "guided_grammar": (["start: x"], ["", {}]),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_field_is_checked_to_its_depth(name: str) -> None:
    """What is wrong is named, by the field or by one within it."""
    good, bad = CASES[name]
    for value in good:
        check_asked(name, value)
    for value in bad:
        with pytest.raises(InvalidRequestError) as caught:
            check_asked(name, value)
        assert re.split(r"[.\[]", caught.value.param or "")[0] == name


def test_a_request_is_held_to_one_thing() -> None:
    """Of two the second is named; null and plain text ask for nothing."""
    plain = {"prompt": "x", "response_format": {"type": "text"}, "guided_regex": None, "num_beams": 1}
    assert plan(parse(plain, MODEL, Limits()), [[1]], MODEL).structure is None
    asked = plan(parse({**plain, "guided_json": {"type": "object"}}, MODEL, Limits()), [[1]], MODEL).structure
    assert asked is not None
    assert (asked.kind, asked.param) == (StructureKind.JSON_SCHEMA, "guided_json")
    with pytest.raises(InvalidRequestError, match="not both") as caught:
        plan(parse({**plain, "guided_json": {}, "guided_regex": "a"}, MODEL, Limits()), [[1]], MODEL)
    assert caught.value.param == "guided_regex"


def test_a_deployment_has_no_default_of_it() -> None:
    """What an output is held to is a request's own."""
    with pytest.raises(ConfigurationError):
        Limits.parse({"guided_regex": "a"}, {})


def _chain(rules: int, *, terminals: bool = False, sign: str = ":") -> str:
    name = "A" if terminals else "a"
    return "\n".join([f"start{sign} {name}1", *(f"{name}{n}{sign} {name}{n + 1}" for n in range(1, rules))])


@pytest.mark.parametrize("field", ["guided_grammar", "structured_outputs.grammar"])
@pytest.mark.parametrize("chain", [_chain(501), _chain(501, terminals=True), _chain(501, sign=" ::=")])
def test_a_grammar_of_many_rules_is_refused(field: str, chain: str) -> None:
    """Rules and terminals alike, Lark's and GBNF, by the name of the field; the schemas in it do not count."""
    name, _, inner = field.partition(".")
    with pytest.raises(InvalidRequestError, match="at most 500 rules") as caught:
        check_asked(name, {inner: chain} if inner else chain)
    assert caught.value.param == field
    check_asked("guided_grammar", _chain(499) + "\nj: %json {" + ",\n".join(f'"x{n}": 1' for n in range(501)) + "}")


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("guided_json", {"properties": {"x": {"multipleOf": 99991}}}, "guided_json.properties.x.multipleOf"),
        ("guided_json", '{"items": {"multipleOf": 10.007}}', "guided_json.items.multipleOf"),
        ("guided_json", {"anyOf": [{"multipleOf": 101}, {"multipleOf": 103}]}, "guided_json.anyOf[0].multipleOf"),
        ("structured_outputs", {"json": {"multipleOf": 99991}}, "structured_outputs.json.multipleOf"),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"schema": {"multipleOf": 99991}}},
            "response_format.json_schema.schema.multipleOf",
        ),
        ("guided_grammar", 'start: %json {"\\u006dultipleOf": 99991}', "guided_grammar.%json.multipleOf"),
    ],
)
def test_multiples_of_too_much_are_refused(name: str, value: Any, path: str) -> None:
    """Alone or together, scaled by their decimals, in schemas and in those within grammars."""
    with pytest.raises(InvalidRequestError, match="multipleOf") as caught:
        check_asked(name, value)
    assert caught.value.param == path


def test_multiples_of_little_are_taken() -> None:
    """As of cents, of quarters of an hour, of a million; and a property of that name is none."""
    multiples: list[Any] = [0.01, 15, 1_000_000, 1e-9, {"type": "string"}]
    check_asked("guided_json", {"prefixItems": [{"multipleOf": each} for each in multiples]})
