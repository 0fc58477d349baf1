"""What is asked of outputs is compiled, kept, bounded, and refused by the name of its field."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest

from llama_inference.backends.grammars import KEPT, Grammars
from llama_inference.backends.tokens import Tokens
from llama_inference.errors import InvalidRequestError
from llama_inference.protocol.parameters import check_asked
from llama_inference.values import Generation

pytestmark = pytest.mark.slow

LONG_S = 20.0  # what no honest grammar takes on the slowest machine, and a hostile one would
HOSTILE: dict[str, tuple[str, Any]] = {
    "repeats of repeats": ("guided_regex", "((a{1,500}){1,500}){1,500}"),
    "an exponential automaton": ("guided_regex", "(a|b)*a(a|b){400}c(a|b)*b(a|b){400}"),
    "intersecting patterns": ("guided_json", {"type": "string", "pattern": "(.*a.{50}){20}", "minLength": 5000}),
    "a deep schema": ("guided_json", json.loads('{"items":' * 200 + "{}" + "}" * 200)),
    "a wide schema": ("guided_json", {"type": "object", "properties": {f"p{n}": {} for n in range(3000)}}),
    "a long way of references": (
        "guided_json",
        {
            "$ref": "#/$defs/0",
            "$defs": {str(n): {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}]} for n in range(1350)}
            | {"1350": {"type": "null"}},
        },
    ),
    "a long way of rules": (
        "guided_grammar",
        "start: a0\n" + "\n".join(f"a{n}: a{n + 1}" for n in range(498)) + '\na498: "a"',
    ),
    "references in a circle": ("guided_json", {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
    "an ambiguous grammar": ("guided_grammar", 'start: x\nx: x x | "a" | "aa" |'),
}


def asked(name: str, value: Any) -> Generation:
    """A request that is held to something."""
    return Generation(prompts=((2,),), max_tokens=9, structure=check_asked(name, value))


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    """Those of the tiny Llama's tokenizer."""
    from tests.support import tiny_llama  # noqa: PLC0415

    return Grammars(Tokens(tiny_llama.tokenizer()))


@pytest.mark.parametrize(
    ("name", "value", "param", "words"),
    [
        ("guided_json", {"type": "foo"}, "guided_json", "Invalid type: foo"),
        ("guided_json", {"not": {}}, "guided_json", "not"),
        ("guided_json", {"$ref": "http://example.com/x"}, "guided_json", "does not fetch"),
        ("guided_regex", "(a", "guided_regex", "unclosed group"),
        ("guided_grammar", "start: x", "guided_grammar", "x"),
        ("guided_grammar", 'root ::= ("a"', "guided_grammar", "Expected"),
        ("structured_outputs", {"regex": "["}, "structured_outputs.regex", "regex"),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"not": {}}}},
            "response_format.json_schema.schema",
            "not",
        ),
    ],
)
def test_what_cannot_be_held_to_is_refused_by_its_field(
    grammars: Grammars, name: str, value: Any, param: str, words: str
) -> None:
    """With what is wrong in it."""
    with pytest.raises(InvalidRequestError) as caught:
        grammars.prepare(asked(name, value))
    assert caught.value.param == param
    assert words in str(caught.value)


def test_what_is_not_strict_passes_over_what_cannot_be_held_to(grammars: Grammars) -> None:
    """As OpenAI's own, which promises nothing without `strict`."""
    loose = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "uniqueItems": True}}}
    assert grammars.of(asked("response_format", loose)) is not None


def test_a_grammar_is_compiled_once_and_the_oldest_is_forgotten(grammars: Grammars) -> None:
    """Also for a request that comes prepared."""
    first = grammars.prepare(asked("guided_regex", "first"))
    assert grammars.of(asked("guided_regex", "first")) is first.grammar is grammars.of(first)
    for number in range(KEPT):
        grammars.of(asked("guided_regex", f"other {number}"))
    assert grammars.of(asked("guided_regex", "first")) is not first.grammar


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_grammar_is_bounded(grammars: Grammars, kind: str) -> None:
    """It is refused, or computed within the limits: no request of it stalls the server."""
    began = time.monotonic()
    grammar = None
    with suppress(InvalidRequestError):
        grammar = grammars.of(asked(*HOSTILE[kind]))
    assert time.monotonic() - began < LONG_S
    if grammar is None:
        return
    matcher = grammar.deep_copy()
    for _ in range(20):
        words = matcher.compute_bitmask()
        allowed = next((n for n in range(2, 392) if words[n // 8] >> n % 8 & 1), None)
        if matcher.is_error() or allowed is None or not matcher.consume_token(allowed):
            break
    assert time.monotonic() - began < LONG_S


def test_a_choice_is_any_text(grammars: Grammars) -> None:
    """With quotes, line ends, and characters of several tokens."""
    for option in ('say "yes"', "two\nlines", "größe 🦙", "back\\slash", "a/b"):
        grammar = grammars.of(asked("guided_choice", [option, "other"]))
        assert grammar is not None
        from tests.support import tiny_llama  # noqa: PLC0415

        matcher = grammar.deep_copy()
        assert matcher.consume_tokens(tiny_llama.tokenizer()(option, add_special_tokens=False)["input_ids"])
        assert matcher.is_accepting()
