"""OpenAI's routes over HTTP: shapes as the server's own description says, its shape of errors, streams that fail."""

import json
from typing import Any

import jsonschema
import pytest

from llama_inference.backends.mock import TEXT
from llama_inference.errors import UnavailableError
from llama_inference.text import decoding
from tests.llama_inference.harness import PacedBackend, Served

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
COMPLETION: dict[str, Any] = {"model": "tiny", "prompt": ["a", "bcd"], "max_tokens": 9}
ROUTES = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETION}


@pytest.fixture(scope="module")
def document(served: Served) -> dict[str, Any]:
    """What /openapi.json serves."""
    return served.client.get("/openapi.json").json()


def hold_to(document: dict[str, Any], operation: dict[str, Any], status: int, body: Any) -> None:
    """Check a body against the schema of the answer with this status."""
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    jsonschema.validate(body, {**schema, "components": document["components"]})


def chunks(served: Served, path: str, body: dict[str, Any]) -> list[Any]:
    """The events of a stream; the last one is no JSON."""
    answer = served.client.post(path, json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    events = answer.text.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") for event in events)
    return [json.loads(event[6:]) if event != "data: [DONE]" else None for event in events]


@pytest.mark.parametrize("path", ROUTES)
def test_an_answer_is_as_the_description_says(served: Served, document: dict[str, Any], path: str) -> None:
    """Its own schema accepts the request and the answer, and refuses what the server refuses."""
    operation = document["paths"][path]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["schema"]
    body = ROUTES[path]
    jsonschema.validate(body, asked)
    answer = served.client.post(path, json=body)
    assert answer.status_code == 200
    hold_to(document, operation, 200, answer.json())
    for wrong in ({**body, "temperature": 3}, {**body, "colour": 1}, {"model": "tiny"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, asked)
        refused = served.client.post(path, json=wrong)
        assert refused.status_code == 400
        hold_to(document, operation, 400, refused.json())


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny"])
def test_models_are_as_the_description_says(served: Served, document: dict[str, Any], path: str) -> None:
    """With the repository and the context beside OpenAI's fields."""
    operation = document["paths"][path.replace("tiny", "{name}")]["get"]
    found = served.client.get(path).json()
    hold_to(document, operation, 200, found)
    model = found["data"][0] if path == "/v1/models" else found
    assert (model["id"], model["root"], model["max_model_len"]) == ("tiny", "mock", 4096)


def test_a_batch_has_the_same_room_for_each_output(served: Served) -> None:
    """However long the prompts are: max_tokens bounds the output alone."""
    answer = served.client.post("/v1/completions", json=COMPLETION).json()
    assert [choice["text"] for choice in answer["choices"]] == [TEXT[:9]] * 2
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length"] * 2
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 18, "total_tokens": 22}


def test_a_stop_string_is_cut_off_and_counted(served: Served) -> None:
    """Its tokens were computed."""
    body = {**COMPLETION, "prompt": "a", "max_tokens": 40, "stop": "(Lama"}
    answer = served.client.post("/v1/completions", json=body).json()
    assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == ("The llama ", "stop")
    assert answer["usage"]["completion_tokens"] == 15
    pieces = [chunk["choices"][0] for chunk in chunks(served, "/v1/completions", body)[:-1]]
    assert ("".join(piece["text"] for piece in pieces), pieces[-1]["finish_reason"]) == ("The llama ", "stop")


def test_pieces_of_a_stream_end_on_whole_characters(served: Served) -> None:
    """A piece without text is not sent; the pieces joined are the text."""
    body = {**CHAT, "max_tokens": len(TEXT.encode())}
    pieces = [chunk["choices"][0]["delta"] for chunk in chunks(served, "/v1/chat/completions", body)[:-1]]
    assert "".join(piece.get("content", "") for piece in pieces) == TEXT
    assert all(piece["content"] for piece in pieces[1:-1])


def test_a_stream_that_fails_ends_with_an_error_the_client_knows(paced: tuple[Served, PacedBackend]) -> None:
    """After its first chunk; nothing follows."""
    served, backend = paced
    backend.gate.let(2)
    with served.client.stream("POST", "/v1/completions", json={**COMPLETION, "stream": True}) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines)[6:])["choices"][0]["text"] == TEXT[0]
        served.soon(lambda: served.server.serving.lane.fail_all(UnavailableError("gone", code="draining")))
        rest = [json.loads(line[6:]) for line in lines if line]
    backend.gate.let(1)
    assert rest[-1] == {"error": {"message": "gone", "type": "server_error", "param": None, "code": "draining"}}


@pytest.mark.parametrize("path", ROUTES)
def test_a_deadline_counts_the_time_in_the_queue(paced: tuple[Served, PacedBackend], path: str) -> None:
    """On these routes as well: 504 without having run."""
    served, backend = paced
    first = served.ask({"prompt": "x", "max_new_tokens": 4})
    served.waits_for(running=1, waiting=0)
    late = served.client.post(path, json=ROUTES[path], headers={"x-request-timeout": "0.05"})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert "in the queue" in late.json()["error"]["message"]
    backend.gate.open()
    assert first.response().status_code == 200
    assert backend.begun == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/embeddings", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/v1/models/another", 404, "model_not_found"),
        ("POST", "/v1/completions", 415, "unsupported_media_type"),
        ("TOO LONG", "/v1/completions", 413, "body_too_large"),
    ],
)
def test_every_error_under_v1_has_openais_shape(served: Served, method: str, path: str, status: int, code: str) -> None:
    """Whoever raised it."""
    if method == "TOO LONG":
        answer = served.client.post(path, content=b"x" * 100_001, headers={"content-type": "application/json"})
    else:
        answer = served.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


@pytest.mark.parametrize("path", ["/v1/models/tiny:predict", "/v1/models/tiny/predict"])
def test_predicts_own_names_under_v1_keep_its_shape(served: Served, path: str) -> None:
    """A GET is told to POST."""
    answer = served.client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["status"] == "error"


def test_the_prompt_alone_is_echoed(served: Served) -> None:
    """Nothing is computed for no token of output; in a stream as well."""
    body = {**COMPLETION, "echo": True, "max_tokens": 0}
    answer = served.client.post("/v1/completions", json=body).json()
    assert [(choice["text"], choice["finish_reason"]) for choice in answer["choices"]] == [
        ("a", "length"), ("bcd", "length"),
    ]  # fmt: skip
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}
    *pieces, done = chunks(served, "/v1/completions", body)
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == "abcd"
    assert done is None


def test_a_prompt_of_tokens_is_decoded_once_for_a_stream(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps there are: its text stands in front of the first."""
    decoded: list[Any] = []

    def front_of(vocabulary: Any, prompt: Any) -> str:
        decoded.append(prompt)
        return decoding.front_of(vocabulary, prompt)

    monkeypatch.setattr("llama_inference.routes.openai.front_of", front_of)
    *pieces, _ = chunks(served, "/v1/completions", {**COMPLETION, "prompt": list(b"abc"), "echo": True, "n": 2})
    assert pieces[0]["choices"][0]["text"].startswith("abc")
    assert len(decoded) == 1


def test_choices_without_drawing_are_equal(served: Served) -> None:
    """As many as were asked for, in order, whole and as a stream; a prompt counts once."""
    body = {**COMPLETION, "n": 3, "temperature": 0, "echo": True}
    answer = served.client.post("/v1/completions", json=body).json()
    assert [choice["text"] for choice in answer["choices"]] == ["a" + TEXT[:9]] * 3 + ["bcd" + TEXT[:9]] * 3
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 54, "total_tokens": 58}
    texts = [""] * 6
    for chunk in chunks(served, "/v1/completions", body)[:-1]:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert texts == [choice["text"] for choice in answer["choices"]]


@pytest.mark.parametrize("path", ROUTES)
def test_each_chunk_counts_the_tokens_so_far_where_that_is_asked_for(served: Served, path: str) -> None:
    """As vLLM does for those that measure."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    *pieces, last, _ = chunks(served, path, {**ROUTES[path], "stream_options": options})
    counts = [piece["usage"]["completion_tokens"] for piece in pieces]
    assert counts == sorted(counts)
    assert counts[-1] == last["usage"]["completion_tokens"] > 0
    assert len({piece["usage"]["prompt_tokens"] for piece in (*pieces, last)}) == 1
    plain = chunks(served, path, {**ROUTES[path], "stream_options": {"include_usage": True}})
    assert all(piece["usage"] is None for piece in plain[:-2])


def test_a_prompt_too_long_is_told_in_openais_words(served: Served) -> None:
    """By status, code and sentence, as its clients know it."""
    answer = served.client.post(
        "/v1/chat/completions", json={**CHAT, "messages": [{"role": "user", "content": "x" * 5000}]}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["message"].startswith("This model's maximum context length is 4096 tokens")
