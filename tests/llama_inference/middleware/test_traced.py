"""The caller's trace: taken up, told in the answer, and in each line of log about the request."""

import logging
import re

import pytest

from llama_inference.logs import JsonFormatter
from llama_inference.tracing.context import TraceContext
from tests.llama_inference.harness import Served, eventually

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = "traceparent"


def test_an_answer_continues_the_callers_trace(served: Served) -> None:
    """With an id of its own; whole, in a stream, and where it fails."""
    for body in ({"max_new_tokens": 3}, {"max_new_tokens": 3, "stream": True}, {"max_new_tokens": 0}):
        answer = served.predict({"prompt": "x", **body}, traceparent=f"00-{TRACE}-{SPAN}-01")
        found = TraceContext.parse(answer.headers[HEADER])
        assert found is not None
        assert (found.trace_id, found.sampled) == (TRACE, True)
        assert found.span_id != SPAN


def test_a_request_without_a_trace_gets_one(served: Served) -> None:
    """So does one whose header is broken; a probe has none."""
    for given in ({}, {HEADER: "00-broken"}):
        answer = served.client.post("/predict", json={}, headers=given)
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", answer.headers[HEADER])
    assert HEADER not in served.client.get("/healthz").headers


def test_the_trace_stands_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the request's id, so that logs of several services can be joined."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    keep = Keep()
    keep.setFormatter(JsonFormatter())
    log = logging.getLogger("llama_inference.middleware.observe")
    caplog.set_level(logging.INFO)
    log.addHandler(keep)
    try:
        answer = served.predict({}, traceparent=f"00-{TRACE}-{SPAN}-01")
        eventually(lambda: lines, "the line")
    finally:
        log.removeHandler(keep)
    found = TraceContext.parse(answer.headers[HEADER])
    assert found is not None
    assert f'"trace_id": "{TRACE}", "span_id": "{found.span_id}"' in lines[0]
