"""HTTP connections: uvicorn's protocol, with an end to its patience, and with callers that have said all they have to.

What uvicorn leaves open: a caller that sends its request a byte a minute keeps a connection for ever; so does one that
never reads its answer; and one that has closed its sending side (as `nc` does at the end of its input) gets no answer.
What h11 leaves open: a request with two lengths, and one that names its target by a whole address.
"""

import asyncio
import re
import socket
from typing import Final

import h11
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from llama_inference.errors import InvalidRequestError, RequestError, RequestTimeoutError
from llama_inference.protocol import failures
from llama_inference.settings import Settings
from llama_inference.values import Json

KEEP_ALIVE_S: Final = 75
LAST_SECONDS = 5  # for what callers have not read yet when all is computed
# After a probe: when to look whether it was refused; the last is when the next probe is due.
LOOKS_S: Final = (0.01, 0.05, 0.2, 1.0, 2.0)
LARGEST_MESSAGE: Final = 100 << 20  # bytes of a websocket's, as the truss server has it
EVENT_STREAM: Final = b"text/event-stream"
COMMENT: Final = b":\n\n"  # of server-sent events: readers skip it
WHOLE_ADDRESS: Final = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
TWO_LENGTHS: Final = "it has both Content-Length and Transfer-Encoding, which do not go together"


def config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn serves `app`; websockets only where there is a package that may have them."""

    class Connection(PatientProtocol):
        request_seconds = settings.request_seconds
        unread_seconds = settings.unread_seconds

    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Connection,
        ws="websockets-sansio" if settings.backend == "package" else "none",
        ws_max_size=LARGEST_MESSAGE,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=LAST_SECONDS,
        server_header=False,
    )


class Framing(h11.Connection):
    """h11's reading of one connection, with what RFC 9112 asks of a server beside it."""

    fault = ""  # why a request was refused, where it was here
    path = ""  # of the request that is being read or answered

    def start_next_cycle(self) -> None:
        """Begin the connection's next request."""
        super().start_next_cycle()
        self.path = ""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event, a request's target as a path.

        Raises:
            h11.RemoteProtocolError: it is no HTTP, or readers could differ about where the request ends (section 6.1).
        """
        event = super().next_event()
        if not isinstance(event, h11.Request):
            return event
        target = event.target
        if (
            address := WHOLE_ADDRESS.match(target)
        ) is not None:  # as proxies are asked, and servers too (section 3.2.2)
            rest = target[address.end() :]
            target = rest if rest.startswith(b"/") else b"/" + rest
        self.path = target.partition(b"?")[0].decode("latin-1")
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
            self.fault = TWO_LENGTHS
            raise h11.RemoteProtocolError(TWO_LENGTHS)
        return h11.Request(method=event.method, target=target, headers=event.headers, http_version=event.http_version)


class PatientProtocol(H11Protocol):
    """One connection. All times are seconds."""

    request_seconds: float
    unread_seconds: float
    conn: Framing  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Json],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Its arguments are uvicorn's."""
        super().__init__(config, server_state, app_state, _loop)
        self.app = self._noting(self.app)
        self.conn = Framing(h11.SERVER)
        self.streams_events = False  # whether the answer under way does
        self._half_closed = False
        self._incomplete: asyncio.TimerHandle | None = None  # runs while a request is awaited
        self._unread: asyncio.TimerHandle | None = None  # runs while an answer waits to be read
        self._look: asyncio.TimerHandle | None = None  # runs while a half-closed caller is probed

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A caller has connected."""
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        for timer in (self._incomplete, self._unread, self._look):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request have come; its time counts from the first."""
        if self._incomplete is None:
            self._await_request()
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY) and self._incomplete is not None:
            self._incomplete.cancel()
            self._incomplete = None

    def _await_request(self) -> None:
        self._incomplete = self.loop.call_later(self.request_seconds, self._request_took_too_long)

    def _request_took_too_long(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()  # it has asked for nothing, so it is told nothing
            return
        message = f"the request was not complete within {self.request_seconds:g} s: send it faster, or in parts"
        self._refuse(RequestTimeoutError(message))

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        del msg
        why = self.conn.fault or "it cannot be read"
        self._refuse(InvalidRequestError(f"this is no valid HTTP request: {why}", code="invalid_http"))

    def _refuse(self, error: RequestError) -> None:
        """Answer with an error, unless an answer has begun already, and end the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = JSONResponse(failures.body(self.conn.path, error), type(error).status, {"connection": "close"})
            head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers)
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        cycle = self._under_way
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    @property
    def _under_way(self) -> RequestResponseCycle | None:
        """The last request; None before the first."""
        return self.cycle

    def pause_writing(self) -> None:
        """The caller reads slower than the answer comes."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The caller sends nothing more: it may still read, or be gone, which looks the same from here.

        Returns: whether to keep the connection.
        """
        cycle = self._under_way
        if cycle is None or cycle.response_complete or cycle.more_body or self.conn.their_http_version == b"1.0":
            return False
        self._half_closed = True
        self._probe()
        return not self.transport.is_closing()

    def on_response_complete(self) -> None:
        """An answer is complete; after the last one there is no reason to wait for more."""
        super().on_response_complete()
        if self._half_closed and self.cycle.response_complete:
            self.transport.close()

    def _probe(self) -> None:
        """Send what every reader skips: where nobody is left, the caller's system refuses it."""
        if self.transport.is_closing() or self.cycle.response_complete:
            return
        if not self.cycle.response_started:
            processing = h11.InformationalResponse(status_code=102, headers=[], reason=b"Processing")
            self.transport.write(self.conn.send(processing) or b"")
        elif self.streams_events:
            self.transport.write(self.conn.send(h11.Data(data=COMMENT)) or b"")
        self._look_for_refusal(0)

    def _look_for_refusal(self, looks: int) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        elif looks < len(LOOKS_S):
            self._look = self.loop.call_later(LOOKS_S[looks], self._look_for_refusal, looks + 1)
        else:
            self._probe()

    def _noting(self, app: ASGI3Application) -> ASGI3Application:
        """Have `app` note whether the answer under way is a stream of events."""

        async def noting(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            async def note(message: ASGISendEvent) -> None:
                if message["type"] == "http.response.start":
                    types = [value for name, value in message.get("headers", ()) if name == b"content-type"]
                    self.streams_events = bool(types) and types[0].startswith(EVENT_STREAM)
                await send(message)

            await app(scope, receive, note)

        return noting
