"""Whole HTTP requests to the truss server's Unix socket: sent as they came, and answers handed over as they come."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

from llama_inference.errors import BadGatewayError, UnavailableError

Headers = list[tuple[bytes, bytes]]  # names in lower case
CONNECT_S: Final = 5.0
AGAIN_S: Final = 2.0
HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
        b"transfer-encoding", b"upgrade", b"proxy-connection",
    }
)  # fmt: skip
NOT_SENT: Final = frozenset({b"expect", b"x-baseten-request-id", b"x-request-id", b"traceparent"})
NOT_HANDED_BACK: Final = frozenset({b"date", b"server"})  # this server writes its own


class BrokenOffError(Exception):
    """The answer ended before it was complete."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body comes piece by piece, each as it was sent."""

    status: int
    headers: Headers
    _response: httpx2.Response

    @property
    def streams_events(self) -> bool:
        """Whether it is a stream of server-sent events."""
        return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in self.headers)

    @property
    def streamed(self) -> bool:
        """Whether its length was not known when it began."""
        return all(name != b"content-length" for name, _ in self.headers)

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the body.

        Raises:
            BrokenOffError: the truss server, or its process, ended it too early.
        """
        try:
            async for piece in self._response.aiter_raw():
                yield piece
        except httpx2.TransportError as error:
            raise BrokenOffError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Be done with it; the truss server notices where it was not complete."""
        await self._response.aclose()


class Upstream:
    """The truss server. Each request has a connection of its own: one that is kept may be closed as it is used."""

    def __init__(self, socket: Path) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        self._transport = httpx2.AsyncHTTPTransport(uds=str(socket), limits=limits, trust_env=False)

    async def send(
        self, method: str, target: bytes, headers: Headers, body: AsyncIterable[bytes] | bytes | None
    ) -> Answer:
        """Send a request; return its answer as soon as it begins.

        Raises:
            UnavailableError: there is no truss server now: it begins, or begins again.
            BadGatewayError: it ended before it answered.
        """
        request = httpx2.Request(
            method,
            "http://package/",
            headers=headers,
            content=body,
            extensions={"target": target, "timeout": {"connect": CONNECT_S}},
        )
        try:
            response = await self._transport.handle_async_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            message = "the package's server cannot be reached, and is likely to be starting: try again"
            raise UnavailableError(message, code="package_unreachable", retry_after=AGAIN_S) from error
        except httpx2.TransportError as error:
            message = "the package's server ended before it answered: its log says why"
            raise BadGatewayError(message, code="package_ended") from error
        kept = [(name.lower(), value) for name, value in response.headers.raw]
        return Answer(response.status_code, passed_on(kept, without=NOT_HANDED_BACK), response)

    async def close(self) -> None:
        """End what is open."""
        await self._transport.aclose()


def passed_on(headers: Iterable[tuple[bytes, bytes]], *, without: frozenset[bytes]) -> Headers:
    """The headers that are meant for the other end: not those of one connection, nor any of `without`."""
    found = list(headers)
    named = {part.strip().lower() for name, value in found if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in found if name not in HOP_BY_HOP | without | named]
