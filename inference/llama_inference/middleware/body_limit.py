"""Refuses a body above a limit: by its declared length, or while it arrives.

What such a caller still sends is of no use to anybody: the answer says `connection: close`. The connection is closed a
moment later, since many clients read no answer before they have sent all they have, and closing at once would take it
from them.
"""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llama_inference.errors import BodyTooLargeError

LINGER_S: Final = 2.0  # how long a caller that has its answer may go on sending


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
        body = _Body(scope, self.max_bytes)

        async def receive_limited() -> Message:
            if body.too_long:
                raise self._error()
            message = body.took(await receive())
            if body.too_long:
                raise self._error()
            return message

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                body.answered(message)
            elif body.closes and not message.get("more_body", False):
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        while body.goes_on:
                            body.took(await receive())
                message = {**message, "body": b""}
            await send(message)

        await self.app(scope, receive_limited, send_last)

    def _error(self) -> BodyTooLargeError:
        return too_large(self.max_bytes)


class _Body:
    """How much of a request's body has come, and whether its connection is to end with the answer."""

    def __init__(self, scope: Scope, max_bytes: int) -> None:
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        self.too_long = declared.isdigit() and int(declared) > max_bytes
        self.goes_on = True
        self.closes = False
        self._endless = "transfer-encoding" in headers  # nobody knows how much is still to come
        self._max_bytes = max_bytes
        self._seen = 0

    def took(self, message: Message) -> Message:
        """Take note of what has come."""
        self._seen += len(message.get("body", b""))
        self.too_long = self.too_long or self._seen > self._max_bytes
        self.goes_on = message["type"] == "http.request" and message.get("more_body", False)
        return message

    def answered(self, start: Message) -> None:
        """Have an answer that comes before a body of too much say that it is the connection's last."""
        self.closes = self.goes_on and (self.too_long or self._endless)
        if self.closes:
            MutableHeaders(scope=start)["connection"] = "close"


def too_large(max_bytes: int, *, as_what: str = "the body") -> BodyTooLargeError:
    """What is said of a body above the limit."""
    return BodyTooLargeError(f"{as_what} is above {max_bytes} bytes: send less, or split the batch")
