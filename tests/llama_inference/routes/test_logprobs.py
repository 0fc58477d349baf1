"""Log-probabilities on every route, whole and streamed, over the mock: a byte a token, each held half likely."""

import json
from math import log
from typing import Any

import pytest

from llama_inference.backends.mock import TEXT
from tests.llama_inference.harness import JSON, Served

HALF = -log(2)
START = TEXT.encode()


def ask(served: Served, path: str, **body: Any) -> Any:
    """The body of an answer."""
    answer = served.client.post(path, json=body, headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(served: Served, path: str, **body: Any) -> list[Any]:
    """The events of a stream, but for the last word."""
    answer = served.client.post(path, json={**body, "stream": True}, headers=JSON)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def chat(**more: Any) -> dict[str, Any]:
    """A chat."""
    return {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 22, **more}


def completion(**more: Any) -> dict[str, Any]:
    """A completion."""
    return {"model": "tiny", "prompt": "hi €", "max_tokens": 22, **more}


def test_predict_tells_each_token_and_its_alternatives(served: Served) -> None:
    """One object for each returned string; without being asked, none."""
    body = {"prompt": "hi", "max_new_tokens": 5, "num_beams": 1}
    assert "logprobs" not in ask(served, "/predict", **body)
    (told,) = ask(served, "/predict", **body, return_logprobs=True, top_logprobs=2)["logprobs"]
    assert told["prompt"] is None
    assert [each["token_id"] for each in told["tokens"]] == list(START[:3])
    assert "".join(each["text"] for each in told["tokens"]) == TEXT[:3]
    first = told["tokens"][0]
    assert first["logprob"] == pytest.approx(HALF)
    assert [each["token_id"] for each in first["top"]] == [START[0], START[0] + 1]


def test_predict_tells_the_prompts_tokens_with_the_full_text(served: Served) -> None:
    """Nothing stands before the first of them, which has null."""
    body = {"prompt": "hi", "max_new_tokens": 5, "num_beams": 1, "return_full_text": True, "return_logprobs": True}
    (told,) = ask(served, "/predict", **body)["logprobs"]
    assert [(each["text"], each["logprob"]) for each in told["prompt"]] == [("h", None), ("i", pytest.approx(HALF))]
    first, *others = events(served, "/predict", **body)
    assert first["prompt_logprobs"] == told["prompt"]
    steps = [each for each in (first, *others) if "token_ids" in each]
    assert [each for step in steps for each in step["logprobs"]] == told["tokens"]
    assert all("prompt_logprobs" not in each for each in others)


def test_a_chat_tells_each_token_with_its_bytes(served: Served) -> None:
    """Half a character has bytes and no text; streamed and whole are the same."""
    body = chat(logprobs=True, top_logprobs=1)
    (choice,) = ask(served, "/v1/chat/completions", **body)["choices"]
    content = choice["logprobs"]["content"]
    assert bytes(byte for each in content for byte in each["bytes"]) == START[:22]
    assert content[0]["top_logprobs"] == [{"token": "T", "bytes": [84], "logprob": pytest.approx(HALF)}]
    chunks = [chunk["choices"][0] for chunk in events(served, "/v1/chat/completions", **body)]
    told = [chunk["logprobs"]["content"] for chunk in chunks if chunk["logprobs"]]
    assert [each for part in told for each in part] == content
    assert "".join(chunk["delta"].get("content", "") for chunk in chunks) == choice["message"]["content"]


def test_what_a_stop_string_cuts_off_is_not_told(served: Served) -> None:
    """The tokens are those of the text that is answered, streamed as well."""
    body = chat(logprobs=True, stop="(L")
    (choice,) = ask(served, "/v1/chat/completions", **body)["choices"]
    content = choice["logprobs"]["content"]
    assert choice["message"]["content"] == "The llama " == "".join(each["token"] for each in content)
    chunks = [chunk["choices"][0] for chunk in events(served, "/v1/chat/completions", **body)]
    told = [chunk["logprobs"]["content"] for chunk in chunks if chunk["logprobs"]]
    assert [each for part in told for each in part] == content


def test_a_completion_with_echo_tells_the_prompts_tokens_first(served: Served) -> None:
    """In lists of equal length, with the place of each in the text; a part of a character is told by its bytes."""
    body = completion(logprobs=1, echo=True, max_tokens=2)
    (choice,) = ask(served, "/v1/completions", **body)["choices"]
    told = choice["logprobs"]
    assert choice["text"] == "hi €Th"
    assert told["tokens"] == ["h", "i", " ", "bytes:\\xe2", "bytes:\\x82", "bytes:\\xac", "T", "h"]
    assert told["token_logprobs"] == [None, *[pytest.approx(HALF)] * 7]
    assert told["top_logprobs"][:2] == [None, {"i": pytest.approx(HALF)}]
    assert told["text_offset"] == [0, 1, 2, 3, 3, 3, 4, 5]
    chunks = [chunk["choices"][0] for chunk in events(served, "/v1/completions", **body)]
    parts = [chunk["logprobs"] for chunk in chunks if chunk["logprobs"]]
    assert {name: [each for part in parts for each in part[name]] for name in told} == told


def test_echo_without_tokens_reads_the_prompt_alone(served: Served) -> None:
    """Nothing is answered, nothing is counted, and all of the prompt is told."""
    body = completion(logprobs=1, echo=True, max_tokens=0)
    answer = ask(served, "/v1/completions", **body)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("hi €", "length")
    assert answer["usage"] == {"prompt_tokens": 6, "completion_tokens": 0, "total_tokens": 6}
    assert len(choice["logprobs"]["tokens"]) == 6
    chunks = [chunk["choices"][0] for chunk in events(served, "/v1/completions", **body)]
    assert "".join(chunk["text"] for chunk in chunks) == "hi €"
