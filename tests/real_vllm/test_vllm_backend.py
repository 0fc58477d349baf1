"""The vLLM backend with a real vLLM on real weights: tokens, streams, cancelling, errors, and its end."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.llama_inference.harness import Served, errors, eventually

GREEDY: dict[str, Any] = {"num_beams": 1, "do_sample": False}
PROMPT = "The capital of France is"


def engine(served: Served) -> Any:
    """The engine that is vLLM itself."""
    return served.server.serving.backend._engine  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def asked(served: Served, prompt: str = PROMPT, **given: Any) -> dict[str, Any]:
    """A whole answer."""
    answer = served.predict({"prompt": prompt, "max_new_tokens": 24, **given})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def transformers_text(model: Path) -> str:
    """What transformers' `generate` says greedily, in float32."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(model)
    plain: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    ids = tokenizer(PROMPT, return_tensors="pt")
    with torch.inference_mode():
        out = plain.generate(**ids, max_length=24, do_sample=False, pad_token_id=0)
    return tokenizer.decode(out[0][ids["input_ids"].shape[1] :], skip_special_tokens=True)


def test_greedy_tokens_are_transformers_own(served: Served, transformers_text: str) -> None:
    """The contract's truth holds for this backend as well."""
    answer = asked(served, **GREEDY)
    assert answer["data"] == [transformers_text]
    assert answer["usage"]["total_tokens"] == 24


def test_a_stream_is_the_whole_text_in_pieces(served: Served, transformers_text: str) -> None:
    """Token by token."""
    events = served.events({"prompt": PROMPT, "max_new_tokens": 24, **GREEDY})
    pieces = [json.loads(event.removeprefix("data: ")).get("text", "") for event in events[:-1]]
    assert "".join(pieces) == transformers_text
    assert len(events) > 10


def test_many_at_once_have_the_answers_of_each_alone(served: Served) -> None:
    """More callers than rows."""
    prompts = [f"{number} and {number} make" for number in range(20)]
    calls = [served.ask({"prompt": prompt, "max_new_tokens": 16, **GREEDY}) for prompt in prompts]
    together = [call.response().json()["data"] for call in calls]
    for number in (0, 7, 19):
        assert together[number] == asked(served, prompts[number], max_new_tokens=16, **GREEDY)["data"]


def test_a_seed_repeats_and_another_does_not(served: Served) -> None:
    """Drawing is vLLM's, by our seeds."""
    drawn: dict[str, Any] = {
        "do_sample": True,
        "num_beams": 1,
        "temperature": 1.5,
        "top_k": 0,
        "top_p": 1.0,
        "max_new_tokens": 40,
    }
    first = asked(served, seed=1, **drawn)["data"]
    assert first == asked(served, seed=1, **drawn)["data"]
    assert first != asked(served, seed=2, **drawn)["data"]


def test_sequences_of_a_request_differ(served: Served) -> None:
    """Each has a seed of its own."""
    answer = asked(
        served, do_sample=True, num_beams=1, num_return_sequences=3, temperature=1.5, top_k=0, top_p=1.0, seed=3,
        max_new_tokens=40,
    )  # fmt: skip
    assert len(set(answer["data"])) == 3


def test_beams_are_searched(served: Served) -> None:
    """The contract's default; as many sequences as asked for, best first."""
    answer = asked(served, max_new_tokens=12, num_beams=4, do_sample=False, num_return_sequences=2)
    assert len(answer["data"]) == 2
    assert all(text.startswith(" Paris") for text in answer["data"])


def test_a_stop_string_ends_the_output_and_is_in_it(served: Served) -> None:
    """As transformers has it."""
    answer = asked(served, "One, two, three,", max_new_tokens=60, stop_strings="six", **GREEDY)
    assert answer["data"][0].endswith("six")
    assert answer["finish_reason"] == ["stop"]


def test_end_tokens_are_the_requests_own(served: Served) -> None:
    """The first greedy token is named an end token: the output has no text, unless a minimum forbids the end."""
    first = served.server.serving.backend.encode(" Paris", special=False)[0]  # pyright: ignore[reportOptionalMemberAccess]
    assert asked(served, eos_token_id=first, **GREEDY)["usage"]["completion_tokens"] == 1
    longer = asked(served, eos_token_id=first, min_new_tokens=5, **GREEDY)
    assert longer["usage"]["completion_tokens"] >= 5


def test_time_that_is_up_ends_the_output(served: Served) -> None:
    """With what is there."""
    answer = asked(served, "Tell me a long story.", max_new_tokens=500, max_time=0.3, eos_token_id=0, **GREEDY)
    assert answer["finish_reason"] == ["time"]


def test_a_caller_that_hangs_up_ends_its_request_in_vllm(served: Served) -> None:
    """Which would compute on for nobody."""
    body = {"prompt": "Tell me a story.", "max_new_tokens": 500, "stream": True, "eos_token_id": 0}
    with served.connection(body) as connection:
        connection.recv(100)
        assert engine(served).get_num_unfinished_requests() == 1
    eventually(lambda: engine(served).get_num_unfinished_requests() == 0, "the end in vLLM")
    served.waits_for(running=0, waiting=0)


def test_what_vllm_cannot_do_names_who_can(served: Served) -> None:
    """Before vLLM is asked."""
    answer = served.predict({"prompt": PROMPT, "no_repeat_ngram_size": 2})
    status, code, param, message = errors(answer)
    assert (status, code, param) == (400, "unsupported_parameter", "no_repeat_ngram_size")
    assert "native and transformers can" in message


def test_what_vllm_refuses_is_400(served: Served) -> None:
    """With its own words."""
    status, _, _, message = errors(served.predict({"prompt": PROMPT, "temperature": 3.0, "do_sample": True}))
    assert status == 400
    assert "temperature must be in [0, 2]" in message


def test_an_engine_that_dies_is_a_lost_engine(served: Served, lost: list[str]) -> None:
    """Last of all: the caller gets 503, the process is told to end, and nothing hangs."""
    body = {"prompt": "Tell me a story.", "max_new_tokens": 500, "eos_token_id": 0, **GREEDY}
    call = served.ask(body)
    eventually(lambda: engine(served).get_num_unfinished_requests() == 1, "the request")
    for process in engine(served).engine_core.resources.engine_manager.processes:
        os.kill(process.pid, signal.SIGKILL)
    assert call.response().status_code == 503
    eventually(lambda: lost, "the loss")
