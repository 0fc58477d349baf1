"""A proxy before the real API server: counts what the operator asks for, cuts the connection, answers with errors.

It speaks plain HTTP, so that it sees the requests; what it passes on is encrypted and carries the caller's token.
"""

import asyncio
import base64
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

_READS = frozenset({"GET", "HEAD"})
_HOP = frozenset({"connection", "content-length", "host", "transfer-encoding", "content-encoding"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request that came through."""

    method: str
    path: str

    @property
    def writes(self) -> bool:
        """Whether it asks for a change."""
        return self.method not in _READS


class ApiProxy:
    """A proxy in a thread of its own, for as long as the `with` block."""

    def __init__(self, upstream: Mapping[str, Any]) -> None:
        self.requests: list[Request] = []
        self.forbidden: list[str] = []
        self.is_cut = False
        self.fails: Callable[[Request], bool] = lambda _: False
        self._upstream = str(upstream["server"])
        self._tls = ssl.create_default_context(cadata=base64.b64decode(upstream["certificate-authority-data"]).decode())
        self._open: set[asyncio.BaseTransport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def about(self, *parts: str) -> list[Request]:
        """The requests whose path holds all these parts, such as a namespace."""
        return [request for request in self.requests if all(part in request.path for part in parts)]

    def writes(self, *parts: str) -> list[Request]:
        """The same, of those that change something."""
        return [request for request in self.about(*parts) if request.writes]

    def cut(self) -> None:
        """Drop every connection, and every new one at its first request."""
        self.is_cut = True
        self._loop.call_soon_threadsafe(self._drop)

    def mend(self) -> None:
        """Let requests through again."""
        self.is_cut = False

    def _drop(self) -> None:
        for transport in tuple(self._open):
            if isinstance(transport, asyncio.Transport):
                transport.abort()

    async def _start(self) -> None:
        self._connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=self._connector, auto_decompress=False)
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._connector.close(abort_ssl=True)
        await self._session.close()
        # A request that was given up closes its connection by TLS's farewell, which aiohttp does not wait for.
        await asyncio.sleep(0.5)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if self.is_cut or transport is None:
            if isinstance(transport, asyncio.Transport):
                transport.abort()
            return web.Response(status=502)
        asked = Request(request.method, request.path_qs)
        self.requests.append(asked)
        if self.fails(asked):
            return web.json_response({"kind": "Status", "message": "the test wants it to fail"}, status=500)
        self._open.add(transport)
        try:
            return await self._answer(request)
        finally:
            self._open.discard(transport)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url, body = self._upstream + request.raw_path, await request.read()
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, ssl=self._tls, timeout=timeout
        ) as answer:
            kept = {
                name: value for name, value in answer.headers.items() if name.lower() not in _HOP - {"content-encoding"}
            }
            response = web.StreamResponse(status=answer.status, headers=kept)
            try:
                await self._copy(request, answer, response)
            finally:
                _abandon(answer)
            return response

    async def _copy(self, request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            if answer.status == 403 and b"being terminated" not in chunk:
                self.forbidden.append(chunk.decode(errors="replace"))
            await response.write(chunk)
        await response.write_eof()


def _abandon(answer: aiohttp.ClientResponse) -> None:
    """Close the connection of an answer that is not at its end, such as a watch, without a farewell."""
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
