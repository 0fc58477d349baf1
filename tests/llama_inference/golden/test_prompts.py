"""Golden prompts as values: what the setting may say, and what is told of an answer that differs."""

from typing import Any

import pytest

from llama_inference.errors import ConfigurationError
from llama_inference.golden.gate import told
from llama_inference.golden.prompts import parse

PATH = "spec.rollout.goldenPrompts[0]"


def difference(kind: str, expected: str, text: str) -> str | None:
    """What is wrong with `text` as an answer."""
    (prompt,) = parse([{"prompt": "x", "expect": {kind: expected}}])
    return prompt.difference(text)


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        ("equals", "Lima", "Lima"),
        ("equals", "", ""),
        ("startsWith", "Li", "Lima"),
        ("contains", "im", "Lima"),
        ("matches", r"^L\w+$", "Lima"),
        ("matches", "im", "Lima"),
    ],
)
def test_an_answer_as_expected_has_no_difference(kind: str, expected: str, text: str) -> None:
    """Each way of comparing; a pattern may match anywhere."""
    assert difference(kind, expected, text) is None


@pytest.mark.parametrize(
    ("kind", "expected", "text", "told"),
    [
        ("equals", "Lima", "Lyon", "expected text that equals 'Lima', got 'Lyon'; they differ from character 2 on"),
        ("equals", "Lima", "Lima ", "expected text that equals 'Lima', got 'Lima '; they differ from character 5 on"),
        ("startsWith", "Lima", " Lima", "expected text that starts with 'Lima', got ' Lima'; they differ from"),
        ("contains", "lima", "Lima", "expected text that contains 'lima', got 'Lima'"),
        ("matches", "^ma", "Lima", "expected text that matches '^ma', got 'Lima'"),
    ],
)
def test_a_difference_tells_what_was_expected_and_what_came(kind: str, expected: str, text: str, told: str) -> None:
    """With the place where they part, where there is one."""
    assert (difference(kind, expected, text) or "").startswith(told)


def test_a_difference_late_in_a_long_text_is_shown_where_it_is_and_stays_short() -> None:
    """Nobody wants to compare two pages by eye."""
    expected, text = "a" * 5000 + "b" * 5000, "a" * 5000 + "c" * 5000
    found = difference("equals", expected, text) or ""
    assert "…'" + "a" * 30 + "b" * 90 + "'…" in found
    assert "…'" + "a" * 30 + "c" * 90 + "'…" in found
    assert "from character 5001 on" in found
    assert len(found) < 400


def test_an_answer_repeats_unless_the_parameters_say_otherwise() -> None:
    """Greedy is the default here, other than in predict."""
    plain, drawn = parse(
        [
            {"prompt": "x", "expect": {"equals": "y"}},
            {"messages": [], "parameters": {"do_sample": True, "seed": 7}, "expect": {"equals": "y"}},
        ]
    )
    assert plain.request == {"prompt": "x", "do_sample": False, "num_beams": 1}
    assert drawn.request == {"messages": [], "do_sample": True, "num_beams": 1, "seed": 7}
    assert (plain.name, drawn.name) == ("number 1", "number 2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"promt": "x"}, f"{PATH}.promt: there is no such field; there are name, prompt, messages"),
        ({"name": ""}, f"{PATH}.name must be a string of 1 to 100 characters"),
        ({"prompt": ""}, f"{PATH}.prompt must be a non-empty string"),
        ({"prompt": ["x"]}, f"{PATH}.prompt must be a non-empty string"),
        ({"messages": []}, f"{PATH} must hold either prompt or messages"),
        ({"parameters": []}, f"{PATH}.parameters must be an object"),
        ({"parameters": {"top_p": 2}}, f"{PATH}.parameters.top_p: top_p must be a number above 0 and at most 1"),
        ({"parameters": {"stream": True}}, f"{PATH}.parameters.stream is not accepted: a golden prompt is"),
        ({"expect": {}}, f"{PATH}.expect must hold one of equals, startsWith, contains, matches, with a text"),
        ({"expect": {"equals": "a", "contains": "b"}}, f"{PATH}.expect must hold one of equals"),
        ({"expect": {"endsWith": "a"}}, f"{PATH}.expect must hold one of equals"),
        ({"expect": {"contains": ""}}, f"{PATH}.expect.contains must be a non-empty string"),
        ({"expect": {"matches": "("}}, f"{PATH}.expect.matches is no regular expression: "),
    ],
)
def test_what_cannot_be_a_golden_prompt_is_named(change: dict[str, Any], message: str) -> None:
    """By the field of the LlamaDeployment."""
    with pytest.raises(ConfigurationError) as caught:
        parse([{"prompt": "x", "expect": {"equals": "y"}, **change}])
    assert str(caught.value).startswith(message)


def test_many_failures_are_counted_and_some_are_told() -> None:
    """The report has a bound; it says how it goes on."""
    message = told([f"golden prompt '{n}': wrong" for n in range(5)], of=6)
    assert message.startswith("5 of 6 golden prompts failed: golden prompt '0': wrong; golden prompt '1': wrong; ")
    assert "'3'" not in message
    assert "; and 2 more. This replica stays unready until it is restarted" in message
