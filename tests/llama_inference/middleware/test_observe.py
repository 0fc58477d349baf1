"""Request ids, the access log, and the count of answers; no content in any of them."""

import logging
import re
import socket

import pytest

from tests.llama_inference.harness import PacedBackend, Served, eventually

SECRET = "the-prompt-that-nobody-may-log"
ID = "x-request-id"


@pytest.fixture(autouse=True)
def _every_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def test_an_answer_carries_the_callers_id(served: Served) -> None:
    """In its header, and in its body."""
    answer = served.predict({"prompt": "x", "max_new_tokens": 3}, x_request_id="trace_1.a-B")
    assert (answer.headers[ID], answer.json()["id"]) == ("trace_1.a-B", "trace_1.a-B")


@pytest.mark.parametrize("given", ["", "a b", 'a"b', "x" * 129, "a/b"])
def test_an_id_that_could_break_a_log_is_replaced(served: Served, given: str) -> None:
    """By a fresh one; so is one that is missing."""
    assert re.fullmatch(r"[0-9a-f]{32}", served.client.get("/healthz", headers={ID: given}).headers[ID])
    assert re.fullmatch(r"[0-9a-f]{32}", served.client.get("/nowhere").headers[ID])


def test_answers_are_counted_by_route_method_and_status(served: Served) -> None:
    """By the route, not the path: whoever asks for a thousand paths makes no thousand rows."""

    def count(route: str, method: str, status: int) -> float:
        return served.metric("http_requests_total", route=route, method=method, status=str(status))

    def counts() -> list[float]:
        return [count("/predict", "POST", 400), count("other", "GET", 404), count("other", "other", 404)]

    before = counts()
    served.predict({})
    served.client.get("/a-path-of-mine")
    served.client.request("BREW", "/a-path-of-mine")
    eventually(lambda: counts() == [each + 1 for each in before], "one more of each")
    assert "a-path-of-mine" not in served.client.get("/metrics").text


def test_each_answer_is_one_line_of_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Method, path, status and seconds; probes only at debug."""

    def rows(path: str) -> list[dict[str, object]]:
        records = [vars(record) for record in caplog.records if record.name.endswith("observe")]
        return [row for row in records if row["path"] == path]

    served.client.post("/one-line")
    served.client.get("/healthz")
    eventually(lambda: rows("/one-line") and rows("/healthz"), "both lines")
    (row,) = rows("/one-line")
    assert (row["levelname"], row["method"], row["status"]) == ("INFO", "POST", 404)
    assert isinstance(row["seconds"], float)
    assert {row["levelname"] for row in rows("/healthz")} == {"DEBUG"}


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": SECRET},
        {"prompt": SECRET, "stream": True},
        {"prompt": [SECRET, ""]},
        {"prompt": SECRET * 300},
        {"messages": [{"role": "user", "content": SECRET}], "max_new_tokens": 60},
        {"prompt": "x", "stop_strings": SECRET},
        {"prompt": "x", SECRET: 1},
        {"prompt": "x", "temperature": SECRET},
    ],
)
def test_no_text_of_a_request_is_logged_or_counted(
    served: Served, body: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it is answered or refused."""
    served.predict(body)
    told = caplog.text + " ".join(str(vars(record)) for record in caplog.records if record.name != "httpx2")
    assert told
    assert SECRET not in told
    assert SECRET not in served.client.get("/metrics").text


def test_a_fault_of_the_server_is_answered_500_and_logged_under_its_id(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears where to look, not what it was."""

    def broken() -> object:
        raise ZeroDivisionError("a detail")

    monkeypatch.setattr(served.server.serving.progress, "report", broken)
    answer = served.client.get("/startupz", headers={ID: "trace-2"})
    body = answer.json()
    assert (answer.status_code, body["error"]["code"], answer.headers[ID]) == (500, "internal_error", "trace-2")
    assert "a detail" not in answer.text
    assert "a detail" in caplog.text


def test_a_caller_that_hung_up_is_logged(paced: tuple[Served, PacedBackend], caplog: pytest.LogCaptureFixture) -> None:
    """With a status that no client sees."""
    served, backend = paced

    def count() -> float:
        return served.metric("http_requests_total", route="/predict", method="POST", status="499")

    before, hung_up = count(), served.hung_up
    with served.connection({"prompt": "x", "max_new_tokens": 9}):
        served.waits_for(running=1, waiting=0)
    served.hang_up_is_noticed(hung_up)
    backend.gate.open()
    eventually(lambda: count() == before + 1, "the hang-up being counted")


def test_a_caller_that_hangs_up_within_its_body_is_no_fault_of_the_server(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted with those that hung up, and no error is logged."""

    def count() -> float:
        return served.metric("http_requests_total", route="/predict", method="POST", status="499")

    before = count()
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head)
    eventually(lambda: count() == before + 1, "the hang-up being counted")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
