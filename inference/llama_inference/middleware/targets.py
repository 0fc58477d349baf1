"""What clients ask for, as the routes know it: HEAD is answered wherever GET is, and a slash too many does no harm.

Base addresses are joined with paths in many ways, so that `/v1/completions/` and `//v1/completions` are what they look
like.
"""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SLASHES = re.compile("/{2,}")


class Targets:
    """Rewrites method and path of a request; the innermost middleware, so that others see what was asked."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"] = plain(scope["path"])
        if scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        scope["method"] = "GET"
        try:
            await self.app(scope, receive, send_head)
        finally:
            scope["method"] = "HEAD"


def plain(path: str) -> str:
    """Return a path without empty parts: no slash twice, and none at the end."""
    return SLASHES.sub("/", path).rstrip("/") or "/"
