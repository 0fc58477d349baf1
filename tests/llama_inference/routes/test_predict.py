"""`POST /predict` over HTTP: the answer, the stream, and every error with its body."""

import json
from typing import Any

import pytest

from llama_inference.backends.mock import TEXT
from tests.llama_inference.harness import JSON, Served, errors

PATHS = ("/predict", "/v1/models/tiny:predict", "/v1/models/tiny/predict")


@pytest.mark.parametrize("path", PATHS)
def test_every_path_answers(served: Served, path: str) -> None:
    """The aliases give what /predict gives."""
    answer = served.client.post(path, json={"prompt": "one", "max_new_tokens": 12})
    assert (answer.status_code, answer.json()["data"]) == (200, [TEXT[:9]])


def test_an_answer_has_the_form_of_the_contract(served: Served) -> None:
    """Texts, ids, reasons, usage and timings stand where the contract says."""
    answer = served.predict({"prompt": "one two", "max_new_tokens": 20}, x_request_id="abc-1")
    body = answer.json()
    timings = body.pop("timings")
    assert body == {
        "status": "success",
        "data": [TEXT[:13]],
        "message": None,
        "id": "abc-1",
        "model": "mock",
        "revision": None,
        "finish_reason": ["length"],
        "usage": {"prompt_tokens": 7, "completion_tokens": 13, "total_tokens": 20},
    }
    assert set(timings) == {"queued_s", "first_token_s", "total_s"}
    assert 0 <= timings["queued_s"] <= timings["first_token_s"] <= timings["total_s"]


def test_a_batch_answers_in_order_and_each_prompt_num_return_sequences_times(served: Served) -> None:
    """Prompts in order, the returned sequences of each side by side."""
    body = {"prompt": ["aaa", "bbbbb"], "num_return_sequences": 2, "max_new_tokens": 8, "return_full_text": True}
    answer = served.predict(body).json()
    assert answer["data"] == ["aaa" + TEXT[:5]] * 2 + ["bbbbb" + TEXT[:3]] * 2
    assert answer["usage"] == {"prompt_tokens": 8, "completion_tokens": 16, "total_tokens": 24}
    assert len(answer["finish_reason"]) == 4


def test_messages_are_rendered_by_the_template(served: Served) -> None:
    """A chat becomes one prompt, which return_full_text shows."""
    body = {"messages": [{"role": "user", "content": "hi"}], "max_new_tokens": 13, "return_full_text": True}
    assert served.predict(body).json()["data"] == ["user: hi\n" + TEXT[:4]]


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "x", "max_new_tokens": 120},
        {"prompt": "x", "max_new_tokens": 120, "return_full_text": True},
        {"prompt": ["ab", "🦙 llama"], "max_new_tokens": 62},
        {"prompt": "x", "max_new_tokens": 44},  # the room ends inside the four bytes of the llama
        {"prompt": "x", "stop_strings": ["🦙", "never"]},
        {"prompt": "x", "num_return_sequences": 2, "do_sample": True, "max_new_tokens": 70},
    ],
)
def test_a_streams_pieces_are_the_unstreamed_text(served: Served, body: dict[str, Any]) -> None:
    """Joined they are the same bytes, no piece holds half a character, and the end says the same."""
    whole = served.predict({"num_beams": 1, **body}).json()
    *steps, last, done = served.events(body)
    texts = [""] * len(whole["data"])
    tokens = 0
    for step in steps:
        event = json.loads(step.removeprefix("data: "))
        assert set(event) == {"index", "text", "token_ids"}
        texts[event["index"]] += event["text"]
        tokens += len(event["token_ids"])
    ending = json.loads(last.removeprefix("data: "))
    assert texts == whole["data"]
    assert (ending["finish_reason"], ending["usage"]) == (whole["finish_reason"], whole["usage"])
    assert tokens == whole["usage"]["completion_tokens"]
    assert done == "data: [DONE]"


def test_a_stream_is_sent_step_by_step(served: Served) -> None:
    """Each step of a sequence is its own event, and proxies are told not to collect them."""
    answer = served.predict({"prompt": "x", "max_new_tokens": 5, "stream": True})
    pieces = [json.loads(row[6:])["text"] for row in answer.text.split("\n\n")[:4]]
    assert pieces == ["T", "h", "e", " "]
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")


NO_JSON = [
    (b"{'prompt': 'x'}", "at line 1 column 2 it goes on with \"'prompt': 'x'}\""),
    (b'{"prompt": "x"', "it breaks off at line 1 column 15"),
    (b'{"prompt": "x"}\n{}', 'at line 2 column 1 it goes on with "{}"'),
    (b"\xff\xfe\xfa", "not valid JSON"),
    (b'{"prompt": "\xff"}', "byte 13 is no UTF-8"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"prompt": "x", "temperature": NaN}', "NaN is not a JSON value"),
    (b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", "it holds a number of too many digits"),
    (b"", "it breaks off at line 1 column 1"),
    (b'["x"]', "must be a JSON object"),
    (b"null", "must be a JSON object"),
]
OF_PYTHON = ("char ", "codec", "Expecting", "Extra data", "sys.", "int string", "None", "True", "False", "Error")


@pytest.mark.parametrize(("body", "words"), NO_JSON)
def test_bad_json_is_answered_400_with_the_place_of_the_fault(served: Served, body: bytes, words: str) -> None:
    """A body that is no JSON object is the caller's mistake, and the message shows where it is."""
    status, code, param, message = errors(served.client.post("/predict", content=body, headers=JSON))
    assert (status, code, param) == (400, "invalid_json", None)
    assert words in message


@pytest.mark.parametrize("body", [body for body, _ in NO_JSON])
def test_no_sentence_of_the_interpreter_is_in_an_answer_to_bad_json(served: Served, body: bytes) -> None:
    """A caller can do nothing with advice about `sys.set_int_max_str_digits`."""
    message = errors(served.client.post("/predict", content=body, headers=JSON))[3]
    assert not [words for words in OF_PYTHON if words in message]


@pytest.mark.parametrize("name", ["seed", "max_new_tokens", "temperature", "do_sample", "stop_strings", "nonsense"])
def test_values_of_any_depth_and_length_are_refused_in_the_callers_words(served: Served, name: str) -> None:
    """As deep as JSON is read at all: what repeats a value in an error must not go deeper itself."""
    texts = [b"9" * 4300, b"1e999", *(b"[" * depth + b"]" * depth for depth in range(1, 1000, 37))]
    texts += [b"[" * depth + b"]" * depth for depth in range(960, 1000)]
    for text in texts:
        body = b'{"prompt": "x", "%b": %b}' % (name.encode(), text)
        status, _, _, message = errors(served.client.post("/predict", content=body, headers=JSON))
        assert status == 400, text[:20]
        assert not [words for words in OF_PYTHON if words in message]


def test_a_fault_of_the_request_is_answered_400_with_its_parameter(served: Served) -> None:
    """What the protocol refuses reaches the caller with code, parameter and message."""
    status, code, param, message = errors(served.predict({"prompt": "x" * 600}))
    assert (status, code, param) == (400, "context_length_exceeded", "max_new_tokens")
    assert "600 tokens" in message
    assert "601" in message


@pytest.mark.parametrize("path", ["/", "/predict/tiny", "/healthz/x"])
def test_an_unknown_path_is_answered_404(served: Served, path: str) -> None:
    """The message repeats the path."""
    status, code, _, message = errors(served.client.post(path, json={"prompt": "x"}))
    assert (status, code) == (404, "not_found")
    assert path in message


@pytest.mark.parametrize("path", ["/v1/models/other:predict", "/v1/models/meta-llama/Llama-2-7b/predict"])
def test_another_models_name_is_answered_404(served: Served, path: str) -> None:
    """The message names the model that is served."""
    status, code, param, message = errors(served.client.post(path, json={"prompt": "x"}))
    assert (status, code, param) == (404, "model_not_found", "name")
    assert message.endswith("it is tiny")


def test_a_query_does_not_name_a_model(served: Served) -> None:
    """Only the path does; /predict takes no query parameters."""
    assert served.client.post("/predict?name=other", json={"prompt": "x"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "POST"), ("DELETE", "/v1/models/tiny:predict", "POST"), ("POST", "/healthz", "GET, HEAD")],
)
def test_a_wrong_method_is_answered_405_with_those_allowed(
    served: Served, method: str, path: str, allowed: str
) -> None:
    """Allow is set, and the message says the same."""
    answer = served.client.request(method, path)
    status, code, _, message = errors(answer)
    assert (status, code, answer.headers["allow"]) == (405, "method_not_allowed", allowed)
    assert message == f"{path} takes {allowed}, not {method}"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_answered_415(served: Served, kind: str) -> None:
    """Only JSON is read, and only what is declared as JSON."""
    status, code, param, message = errors(
        served.client.post("/predict", content=b'{"prompt": "x"}', headers={"content-type": kind})
    )
    assert (status, code, param) == (415, "unsupported_media_type", "Content-Type")
    assert (kind or "missing") in message


def test_a_content_type_may_name_a_charset(served: Served) -> None:
    """Parameters of the media type are no hindrance."""
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert served.client.post("/predict", content=b'{"prompt": "x"}', headers=headers).status_code == 200


@pytest.mark.parametrize("header", ["0", "-1", "soon", "nan", "inf", "", "1_0", "0x1p3", "1e999", "+1", "1 2"])
def test_a_deadline_that_is_no_time_is_answered_400(served: Served, header: str) -> None:
    """The header is seconds, above 0."""
    status, code, param, message = errors(served.predict({"prompt": "x"}, x_request_timeout=header))
    assert (status, code, param) == (400, "invalid_parameter", "X-Request-Timeout")
    assert f'it is "{header}"' in message
