"""What TGI is asked, and what its answers say. Pure."""

from typing import Any

import pytest

from llama_inference.backends.tgi_parameters import Token, body, failure, read
from llama_inference.errors import InternalError, InvalidRequestError, RequestError, UnavailableError
from llama_inference.values import FinishReason, Generation


def asked(**given: Any) -> dict[str, Any]:
    """The parameters that TGI is asked with for a prompt of two tokens."""
    generation = Generation(prompts=((1, 2),), max_tokens=12, **given)
    content = body(generation, (1, 2), "Hello", seed=0)
    assert content["inputs"] == "Hello"
    return content["parameters"]


def test_a_greedy_request_says_how_much_and_nothing_else() -> None:
    """The contract bounds prompt and output together, TGI the output alone."""
    assert asked() == {"details": True, "max_new_tokens": 10, "do_sample": False}


def test_a_bound_on_the_output_alone_holds_too() -> None:
    """OpenAI's max_tokens; the smaller of both bounds counts."""
    assert [asked(max_output=most)["max_new_tokens"] for most in (3, 30)] == [3, 10]


def test_drawing_says_how() -> None:
    """A seed goes along, never 0, which TGI refuses."""
    drawn = {"do_sample": True, "temperature": 0.5, "top_k": 7, "top_p": 0.9, "typical_p": 0.8}
    assert asked(parameters=drawn) == {"details": True, "max_new_tokens": 10, "seed": 1, **drawn}


def test_values_that_ask_for_nothing_are_left_out() -> None:
    """TGI refuses top_k 0 and top_p 1, which mean "off" everywhere else."""
    off = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0, "repetition_penalty": 1.0}
    assert set(asked(parameters=off)) == {"details", "max_new_tokens", "do_sample", "seed", "temperature"}
    assert asked(parameters={"temperature": 0.7}) == asked()


def test_penalties_go_along() -> None:
    """For greedy requests too."""
    found = asked(parameters={"repetition_penalty": 1.2, "frequency_penalty": 0.5})
    assert (found["repetition_penalty"], found["frequency_penalty"]) == (1.2, 0.5)


def test_stop_strings_are_found_here() -> None:
    """One place decides a stop for every backend, and TGI's bound on their number is none of ours."""
    assert "stop" not in asked(stop_strings=("END",))


@pytest.mark.parametrize(
    ("reason", "ours"),
    [("length", FinishReason.LENGTH), ("eos_token", FinishReason.STOP), ("stop_sequence", FinishReason.STOP)],
)
def test_the_last_event_says_why_it_is_the_last(reason: str, ours: FinishReason) -> None:
    """Others say nothing of it."""
    event = '{"index": 1, "token": {"id": 7, "text": "x", "logprob": null, "special": false}, "details": %s}'
    assert read("data:" + event % "null") == Token(7, None)
    assert read("data: " + event % f'{{"finish_reason": "{reason}"}}') == Token(7, ours)


@pytest.mark.parametrize("line", ["", ":", ": keep-alive", "event: x"])
def test_lines_without_data_carry_nothing(line: str) -> None:
    """Such as those that keep a connection open."""
    assert read(line) is None


@pytest.mark.parametrize("line", ["data: {}", "data: [1]", "data: {", 'data: {"token": {"id": "x"}}'])
def test_an_event_of_another_kind_is_an_error(line: str) -> None:
    """A server that is no TGI is not taken for one."""
    with pytest.raises(InternalError, match="none of its own"):
        read(line)


def test_an_error_in_the_stream_is_told() -> None:
    """With TGI's own words."""
    with pytest.raises(InternalError, match="CUDA error"):
        read('data: {"error": "CUDA error", "error_type": "generation"}')


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (422, {"error": "x", "error_type": "validation"}, InvalidRequestError),
        (429, {"error": "x", "error_type": "overloaded"}, UnavailableError),
        (424, {"error": "x", "error_type": "generation"}, InternalError),
        (500, "no JSON", InternalError),
    ],
)
def test_an_error_of_tgi_has_its_own_status_here(status: int, content: Any, kind: type[RequestError]) -> None:
    """What the caller can mend is 400, what time mends is 503 with a time, the rest is 500."""
    error = failure(status, content)
    assert type(error) is kind
    assert (error.retry_after is not None) == (kind is UnavailableError)
