"""Takes up the caller's trace: a span for each request, its ids in the logs and in the answer."""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llama_inference import logs
from llama_inference.middleware.observe import METHODS
from llama_inference.tracing.context import HEADER, TraceContext
from llama_inference.tracing.spans import Attributes, Tracer, current

UNTRACED: Final = frozenset({"/healthz", "/readyz", "/health", "/startupz", "/metrics"})  # asked every few seconds


class Traced:
    """The outermost middleware, so that every line of log within has the ids."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app = app
        self.tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self.app(scope, receive, send)
            return
        span = self.tracer.begin(TraceContext.parse(Headers(scope=scope).get(HEADER, "")))
        context = span.context
        spans, ids = current.set(span), logs.trace.set((context.trace_id, context.span_id))
        status = 0

        async def send_with_context(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = context.header
            await send(message)

        try:
            await self.app(scope, receive, send_with_context)
        finally:
            route = getattr(scope.get("route"), "path", None)
            method = scope["method"] if scope["method"] in METHODS else "HTTP"
            name = f"{method} {route}" if route else method
            span.end(name, _attributes(scope, route, status), failed=status >= 500)
            logs.trace.reset(ids)
            current.reset(spans)


def _attributes(scope: Scope, route: str | None, status: int) -> Attributes:
    """Under OpenTelemetry's names for HTTP servers; nothing of a request's content."""
    found: dict[str, str | int | float] = {"http.request.method": scope["method"], "url.path": scope["path"]}
    if route:
        found["http.route"] = route
    if status:
        found["http.response.status_code"] = status
    if key := scope.get("state", {}).get("api_key"):
        found["llama_inference.api_key"] = key  # its name
    return found
