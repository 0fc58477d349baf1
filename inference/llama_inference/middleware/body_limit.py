"""Refuses a body above a limit: by its declared length, or while it arrives."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llama_inference.errors import BodyTooLargeError


class BodyLimit:
    """Raises `BodyTooLargeError` in whoever reads the body; `app` turns it into an answer."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        too_long = declared.isdigit() and int(declared) > self.max_bytes
        seen = 0

        async def receive_limited() -> Message:
            nonlocal seen
            if too_long:
                raise self._error()
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                raise self._error()
            return message

        await self.app(scope, receive_limited, send)

    def _error(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body is above {self.max_bytes} bytes: send less, or split the batch")
