"""Answers over time: noticing that a caller has hung up, and a response that is a stream of events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llama_inference.errors import AbandonedError
from llama_inference.stream import sse


class HungUp:
    """While the block runs, call `on_hang_up` when the caller closes the connection.

    The body must have been read: what `receive` yields next is the disconnect.
    """

    def __init__(self, receive: Receive, on_hang_up: Callable[[], None]) -> None:
        self._receive = receive
        self._on_hang_up = on_hang_up
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._on_hang_up()


class EventStream(Response):
    """Sends events as they come; ends quietly when the caller has gone."""

    media_type = sse.MEDIA_TYPE

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], *, on_end: Callable[[], None]) -> None:
        """`first` is sent with the head; `on_end` is called however the stream ends."""
        super().__init__(headers=sse.HEADERS)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        del scope
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        try:
            async with HungUp(receive, self._on_end):
                async for chunk in self._rest:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except AbandonedError:
            return  # the connection is closed: there is nobody to tell
        finally:
            self._on_end()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
