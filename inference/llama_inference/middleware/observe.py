"""Gives each request an id, counts its answer, and writes one line about it.

The id is the caller's `X-Request-Id` when it is a plain one, so that logs of several services can be joined.
"""

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llama_inference.errors import InternalError
from llama_inference.logs import request_id
from llama_inference.metrics import Metrics
from llama_inference.protocol import failures

log = logging.getLogger(__name__)
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = frozenset(
    {"/healthz", "/readyz", "/health", "/startupz", "/metrics"}
)  # asked every few seconds: logged at debug


class Observe:
    """Request id, access log, request count."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        token = request_id.set(given if PLAIN_ID.fullmatch(given) else uuid4().hex)
        began, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id.get() or ""
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("a fault of the server")
            if not status:
                error = InternalError("this is a fault of the server; its log has the reason under the request's id")
                await JSONResponse(failures.body(scope["path"], error), error.status)(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.monotonic() - began)
            request_id.reset(token)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "other")  # never the raw path: labels must stay few
        method = scope["method"] if scope["method"] in METHODS else "other"
        # 0: the caller had gone before an answer began.
        self.metrics.http_requests.labels(path, method, status or "none").inc()
        level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status or None,
            "seconds": round(seconds, 4),
        }
        if key := scope.get("state", {}).get("api_key"):
            fields["api_key"] = key  # its name
        log.log(level, "answered" if status else "hung up", extra=fields)
