"""Spans to an OpenTelemetry collector, by OTLP over HTTP; off unless an endpoint is set in the environment.

The variables are OpenTelemetry's own (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, …),
read by its SDK, which is an extra of this package.
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from llama_inference.errors import ConfigurationError
from llama_inference.tracing.context import TraceContext
from llama_inference.tracing.spans import Attributes, PlainTracer, Span, Tracer

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE: Final = "llama-inference"
FLUSH_S: Final = 3.0


def open_tracer(environment: Mapping[str, str], *, version: str) -> Tracer:
    """Return what the environment asks for: spans to a collector, or ids alone.

    Raises:
        ConfigurationError: a collector is named, and the extra is not installed.
    """
    name = next((name for name in ENDPOINTS if environment.get(name)), None)
    if name is None or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return PlainTracer()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        message = (
            f"{name} is set, but OpenTelemetry's packages are not installed ({error.name}): "
            f"install llama-inference[otel], or unset {name}"
        )
        raise ConfigurationError(message) from error
    named = environment.get("OTEL_SERVICE_NAME") or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.version": version, **({} if named else {"service.name": SERVICE})}
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    log.info("spans are sent by OTLP", extra={"endpoint": environment[name]})
    return OtelTracer(provider, version)


class OtelTracer:
    """Hands spans to OpenTelemetry's SDK."""

    def __init__(self, provider: "TracerProvider", version: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE, version)
        # Spans have times of day; this server's own times are monotonic.
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def begin(self, parent: TraceContext | None) -> Span:
        """Begin a request's span; whether it is recorded is the sampler's decision, by default the caller's."""
        from opentelemetry import trace  # noqa: PLC0415

        context = trace.set_span_in_context(trace.NonRecordingSpan(_remote(parent))) if parent is not None else None
        return OtelSpan(self, self._tracer.start_span("request", context=context, kind=trace.SpanKind.SERVER))

    def stage(self, parent: "trace.Span", name: str, begin: float, end: float, attributes: Attributes) -> None:
        """Record a finished part of a span."""
        from opentelemetry import trace  # noqa: PLC0415

        span = self._tracer.start_span(
            name, context=trace.set_span_in_context(parent), attributes=dict(attributes), start_time=self._at(begin)
        )
        span.end(self._at(end))

    def _at(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._offset_ns

    def close(self) -> None:
        """Send what has not been sent; a collector that does not answer is given up after a moment."""
        # On a thread of its own: the SDK waits longer for a collector that is gone than a pod has to end.
        thread = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        thread.start()
        thread.join(FLUSH_S)


class OtelSpan:
    """The span of one request in OpenTelemetry's SDK."""

    def __init__(self, tracer: OtelTracer, span: "trace.Span") -> None:
        self._tracer = tracer
        self._span = span

    @property
    def context(self) -> TraceContext:
        """Where in the trace it is."""
        own = self._span.get_span_context()
        return TraceContext(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled)

    def stage(self, name: str, begin: float, end: float, attributes: Attributes) -> None:
        """Add a finished part of the request."""
        self._tracer.stage(self._span, name, begin, end, attributes)

    def end(self, name: str, attributes: Attributes, *, failed: bool) -> None:
        """End it."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415

        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _remote(parent: TraceContext) -> "trace.SpanContext":
    from opentelemetry import trace  # noqa: PLC0415

    return trace.SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT),
    )
