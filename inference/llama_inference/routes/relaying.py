"""A request's body on its way to the package, and the answer on its way back, piece by piece."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from llama_inference.errors import AbandonedError, RequestError
from llama_inference.package.exchange import Exchange
from llama_inference.package.upstream import Answer, BrokenOffError
from llama_inference.routes.responses import HungUp
from llama_inference.stream import sse

log = logging.getLogger(__name__)


class Body:
    """A request's body on its way through, and the caller's hang-up after it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._read = asyncio.Event()
        names = {name for name, _ in request.scope["headers"]}
        has_one = bool(names & {b"content-length", b"transfer-encoding"})
        self.content = self._pieces() if has_one else None
        if not has_one:
            self._read.set()

    async def _pieces(self) -> AsyncGenerator[bytes]:
        try:
            async for piece in self._request.stream():
                if piece:
                    yield piece
        except ClientDisconnect as error:
            raise AbandonedError("the caller hung up") from error
        self._read.set()

    async def receive(self) -> Message:
        """What `HungUp` waits for: nothing before the whole body has been read, since both read the same messages."""
        await self._read.wait()
        return await self._request.receive()


class Relayed(Response):
    """An answer of the package: status, headers and pieces as they come.

    One that breaks off is not ended as if it were complete: a stream of events ends with an `error` event, the
    connection of any other is closed.
    """

    def __init__(self, answer: Answer, exchange: Exchange | None) -> None:
        """`exchange` is None for what does not count against the requests at once."""
        super().__init__(status_code=answer.status)
        self.raw_headers = answer.headers
        self._answer = answer
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope
        error: BaseException | None = None
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self._exchange is None:
                await self._pump(send)
            else:
                async with HungUp(receive, self._exchange.hang_up):
                    await self._exchange.run(self._pump(send))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except AbandonedError as gone:
            error = gone
        except (BrokenOffError, RequestError) as broken:
            error = broken
            await self._break_off(send, broken)
        except BaseException as other:
            error = other
            raise
        finally:
            if self._exchange is not None:
                self._exchange.finish(error)
            await self._answer.close()

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._answer.pieces()) as pieces:
            async for piece in pieces:
                if self._exchange is not None and self._exchange.first_piece is None and self._answer.streamed:
                    self._exchange.first_piece = time.monotonic()
                await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _break_off(self, send: Send, error: Exception) -> None:
        log.warning("an answer of the package broke off", extra={"detail": str(error)})
        if not self._answer.streams_events:
            return  # without its end; the connection is closed
        told = str(error) if isinstance(error, RequestError) else "the stream failed in the package: its log says why"
        last = sse.event({"error": told}, name="error")
        await send({"type": "http.response.body", "body": last, "more_body": False})
