"""Golden prompts of a package: what the setting may hold, and what is compared."""

from typing import Any

import pytest

from llama_inference.errors import ConfigurationError
from llama_inference.package.golden import parse, text_of

EXPECT = {"contains": "x"}


def test_a_request_is_sent_as_it_is() -> None:
    """A package takes any JSON; prompt and parameters are only the common shape of it."""
    whole, common = parse(
        [
            {"request": [1, 2], "expect": EXPECT},
            {"prompt": "p", "parameters": {"max_new_tokens": 4}, "expect": EXPECT},
        ]
    )
    assert whole.request == [1, 2]
    assert common.request == {"prompt": "p", "max_new_tokens": 4}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"expect": EXPECT}, "must hold one of prompt, messages and request"),
        ({"request": {}, "prompt": "p", "expect": EXPECT}, "must hold one of"),
        ({"request": {}, "parameters": {"a": 1}, "expect": EXPECT}, "parameters must be an object, and goes with"),
        ({"request": {}, "other": 1, "expect": EXPECT}, "other: there is no such field"),
        ({"request": {}}, "expect must hold one of"),
    ],
)
def test_a_row_that_cannot_be_asked_is_refused_by_its_field(row: dict[str, Any], words: str) -> None:
    """With the path in the custom resource."""
    with pytest.raises(ConfigurationError, match=r"spec.rollout.goldenPrompts\[0\].*") as refused:
        parse([row])
    assert words in str(refused.value)


@pytest.mark.parametrize(("body", "text"), [(b'"a\\u00fc"', "aü"), (b'{"a": 1}', '{"a": 1}'), (b"plain", "plain")])
def test_a_json_string_is_compared_as_its_text(body: bytes, text: str) -> None:
    """Anything else as it was sent."""
    assert text_of(body) == text
