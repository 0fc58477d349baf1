"""One request sent on to a pod and its answer sent back, byte for byte and as it comes.

A request whose connection was refused has not reached anybody, and may be sent again; after its first byte it is never
sent twice.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web

_CONNECT_SECONDS: Final = 3.0
_HOP: Final = frozenset(
    {
        "connection",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that are about one connection (RFC 9110, 7.6.1), or that each client writes itself."""
_FORWARDED: Final = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
"""Headers that tell who stands behind a proxy; each that passes a request on adds to them."""
_OURS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that the client would add by itself."""


class NotConnectedError(Exception):
    """No pod took the connection; not a byte of the request was sent."""


class LostError(Exception):
    """The pod ended the connection before it answered; it may have begun."""


class Pods:
    """The Service of the model's pods."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = upstream.rstrip("/")

    async def knock(self) -> bool:
        """Return whether a pod is ready: the Service leads to those alone, and refuses where there is none."""
        timeout = aiohttp.ClientTimeout(total=_CONNECT_SECONDS)
        try:
            async with self._session.get(f"{self._upstream}/readyz", timeout=timeout) as answer:
                return answer.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Send a request on, and the answer back; however it ends, the connection to the pod ends with it.

        Raises:
            NotConnectedError: if it has reached nobody.
            LostError: if it may have, and there is no answer.
        """
        async with self._asked(request) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.clear()
            response.headers.extend(_passed(answer.headers.items()))
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except aiohttp.ClientPayloadError:
                # The caller must not take a part for the whole: its connection ends without the end of the body.
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response

    @asynccontextmanager
    async def _asked(self, request: web.Request) -> AsyncGenerator[aiohttp.ClientResponse]:
        # As it was written, but for a whole address, whose host is this gateway's.
        target = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        asking = self._session.request(
            request.method,
            f"{self._upstream}{target}",
            headers=[*_passed(request.headers.items(), without=_FORWARDED), *_forwarded(request)],
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
            skip_auto_headers=_OURS,
        )
        try:
            answer = await asking
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnectedError(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise LostError(str(error) or type(error).__name__) from error
        try:
            yield answer
        finally:
            answer.close()


def _passed(headers: Iterable[tuple[str, str]], *, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the headers that are passed on: all but those of the connection itself, and those `without`."""
    rows = list(headers)
    dropped = {
        token.strip().lower() for name, value in rows if name.lower() == "connection" for token in value.split(",")
    }
    left = {*_HOP, *dropped, *without}
    return [(name, value) for name, value in rows if name.lower() not in left]


def _forwarded(request: web.Request) -> Iterator[tuple[str, str]]:
    """Yield who asked, how, and for which host: else the server would see a gateway and nobody behind it.

    What a proxy in front of us says stands first, as each adds the one that it was asked by.
    """
    by = [*request.headers.getall("X-Forwarded-For", []), *([request.remote] if request.remote else [])]
    if by:
        yield "X-Forwarded-For", ", ".join(by)
    yield "X-Forwarded-Proto", request.headers.get("X-Forwarded-Proto", request.scheme)
    yield "X-Forwarded-Host", request.headers.get("X-Forwarded-Host", request.host)


@asynccontextmanager
async def pods(upstream: str) -> AsyncGenerator[Pods]:
    """Open the way to the pods of a Service, and close it at the end."""
    # A connection for each request: the Service then chooses among the pods each time, and a refused connection is
    # known to have carried nothing, which one taken up again is not.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Pods(session, upstream)
