"""Spans to a real OTLP/HTTP receiver, from the server as a process; and what is said where the extra is missing."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llama_inference.errors import ConfigurationError
from llama_inference.tracing.otel import open_tracer
from llama_inference.tracing.spans import PlainTracer
from tests.llama_inference.harness import eventually
from tests.llama_inference.process import MOCK, MODULE, Process

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "the-prompt-that-nobody-may-record"


class Collector:
    """An OTLP/HTTP receiver on this machine: what arrives at /v1/traces is decoded and kept."""

    def __init__(self) -> None:
        received: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    received.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                """Nothing to say."""

        self._received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def resources(self) -> list[dict[str, str]]:
        """Who sent spans."""
        rows = [resource for request in self._received for resource in request.resource_spans]
        return [{item.key: item.value.string_value for item in row.resource.attributes} for row in rows]

    def spans(self) -> dict[str, Any]:
        """Every span so far, by its name."""
        rows = [resource for request in self._received for resource in request.resource_spans]
        return {span.name: span for row in rows for scope in row.scope_spans for span in scope.spans}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running receiver."""
    with Collector() as collector:
        yield collector


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


@pytest.mark.slow
def test_a_request_is_a_span_with_queue_prefill_and_decode_in_it(collector: Collector) -> None:
    """Within the caller's trace, one after the other, under OpenTelemetry's names; the prompt is in none of them."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with Process(*MODULE, **MOCK, **environment, LLAMA_INFERENCE_MOCK_STEP_SECONDS="0.002") as process:
        process.ready()
        body = {"prompt": SECRET, "max_new_tokens": len(SECRET) + 5}
        answer = process.client.post("/predict", json=body, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
        assert answer.status_code == 200
        names = {"POST /predict", "queue", "prefill", "decode"}
        eventually(lambda: set(collector.spans()) >= names, "the spans")
        assert "GET /readyz" not in collector.spans()
    spans = collector.spans()
    request = spans["POST /predict"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, SPAN)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.span_id.hex()}-01"
    wanted = {"http.request.method": "POST", "http.route": "/predict", "http.response.status_code": 200}
    assert wanted.items() <= attributes(request).items()
    stages = [spans[name] for name in ("queue", "prefill", "decode")]
    assert {stage.parent_span_id for stage in stages} == {request.span_id}
    assert [stages[0].end_time_unix_nano, stages[1].end_time_unix_nano] == [
        stages[1].start_time_unix_nano, stages[2].start_time_unix_nano,
    ]  # fmt: skip
    assert all(stage.start_time_unix_nano <= stage.end_time_unix_nano for stage in stages)
    slack = 50_000_000  # of the clock of the day against the monotonic one
    assert request.start_time_unix_nano - slack <= stages[0].start_time_unix_nano
    assert stages[2].end_time_unix_nano <= request.end_time_unix_nano + slack
    assert attributes(stages[1])["gen_ai.usage.input_tokens"] == len(SECRET)
    assert attributes(stages[2])["gen_ai.usage.output_tokens"] == 5
    assert {row["service.name"] for row in collector.resources} == {"llama-inference"}
    assert SECRET not in str(spans)


@pytest.mark.slow
def test_what_was_not_sent_yet_is_sent_at_the_end(collector: Collector) -> None:
    """SIGTERM loses no span."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with Process(*MODULE, **MOCK, **environment) as process:
        process.ready()
        process.client.post("/predict", json={})
        process.signal()
        assert process.exit_code() == 0
    assert attributes(collector.spans()["POST /predict"])["http.response.status_code"] == 400


@pytest.mark.slow
def test_a_collector_that_is_gone_hinders_nothing() -> None:
    """Requests are answered, and the end comes in time."""
    with Process(*MODULE, **MOCK, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as process:
        process.ready()
        assert process.client.post("/predict", json={"prompt": "x", "max_new_tokens": 3}).status_code == 200
        process.signal()
        assert process.exit_code() == 0


def test_without_an_endpoint_nothing_is_sent() -> None:
    """Nor where the SDK is switched off."""
    assert isinstance(open_tracer({}, version="1"), PlainTracer)
    disabled = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}
    assert isinstance(open_tracer(disabled, version="1"), PlainTracer)


def test_an_endpoint_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """And which variable asks for it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"ENDPOINT is set, but .* install llama-inference\[otel\]"):
        open_tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, version="1")
