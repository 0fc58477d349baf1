"""Spans of a request, as the rest of the server knows them: begun by a tracer, divided into stages, ended once.

`PlainTracer` only gives ids, for logs and answers; `otel` sends spans to a collector.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

from llama_inference.tracing.context import TraceContext

Attributes = Mapping[str, str | int | float]


class Span(Protocol):
    """The span of one request."""

    @property
    def context(self) -> TraceContext:
        """Where in the trace it is."""
        ...

    def stage(self, name: str, begin: float, end: float, attributes: Attributes) -> None:
        """Add a finished part of the request, such as its time in the queue; times are `time.monotonic` seconds."""
        ...

    def end(self, name: str, attributes: Attributes, *, failed: bool) -> None:
        """End it, with its name, which is known only then; `failed` is for faults of this server."""
        ...


class Tracer(Protocol):
    """Begins the span of each request."""

    def begin(self, parent: TraceContext | None) -> Span:
        """Begin a request's span within the caller's trace, or in a new one."""
        ...

    def close(self) -> None:
        """Send what has not been sent, within a few seconds."""
        ...


class PlainSpan:
    """A span that is recorded nowhere: its ids join logs with those of the caller."""

    def __init__(self, context: TraceContext) -> None:
        self.context = context

    def stage(self, name: str, begin: float, end: float, attributes: Attributes) -> None:
        """Nothing to record."""

    def end(self, name: str, attributes: Attributes, *, failed: bool) -> None:
        """Nothing to record."""


class PlainTracer:
    """Gives ids, and records nothing."""

    def begin(self, parent: TraceContext | None) -> Span:
        """Begin a span that has ids only."""
        return PlainSpan(TraceContext.after(parent))

    def close(self) -> None:
        """Nothing to send."""


current: ContextVar[Span | None] = ContextVar("span", default=None)
