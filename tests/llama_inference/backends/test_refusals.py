"""What callers are told of an error in a library: its own sentence, and nothing of the interpreter's."""

import json

import pytest

from llama_inference.backends.refusals import refusal


def caught(code: str, module: str) -> Exception:
    """The error that a line of some module raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        exec(compile(code, module, "exec"), {"__name__": module, "json": json})  # noqa: S102
    return caught.value


def test_a_librarys_own_sentence_is_passed_on() -> None:
    """It is about parameters, and says more than we could."""
    error = caught("raise ValueError('`top_h` has to be above 0')", "transformers.generation.configuration_utils")
    assert str(refusal("refused", error, param="top_h")) == "refused: `top_h` has to be above 0"
    assert refusal("refused", error, param="top_h").param == "top_h"


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("int('x')", "elsewhere"),
        ("raise ValueError('of another library')", "elsewhere"),
        ("{}['x']", "transformers.x"),
        ("None + 1", "transformers.x"),
        ("json.loads('x')", "transformers.x"),
    ],
)
def test_what_the_interpreter_says_is_not(code: str, module: str) -> None:
    """It stands in the log."""
    assert str(refusal("refused", caught(code, module))) == "refused"
