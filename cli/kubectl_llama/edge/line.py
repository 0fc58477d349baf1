"""HTTP over a port-forward: one connection, one request, an answer that is read as it comes."""

import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final

from kubectl_llama.errors import AnswerError, TimedOutError

_PIECE: Final = 2**16


class Line(HTTPConnection):
    """A connection that is there already."""

    auto_open = 0

    def __init__(self, connected: socket.socket, timeout: float | None) -> None:
        super().__init__("localhost")
        connected.settimeout(timeout)
        self.sock = connected


class Answer:
    """Status, headers, and the body in pieces as they come."""

    def __init__(self, response: HTTPResponse, line: Line) -> None:
        self._response, self._line = response, line
        self.status, self.reason = response.status, response.reason
        self.headers: Mapping[str, str] = dict(response.headers.items())

    @property
    def is_stream(self) -> bool:
        """Whether it comes in pieces that are worth showing one by one."""
        kind = self._response.headers.get_content_type()
        return kind in ("text/event-stream", "application/octet-stream")

    @property
    def is_events(self) -> bool:
        """Whether it is server-sent events."""
        return self._response.headers.get_content_type() == "text/event-stream"

    def pieces(self) -> Iterator[bytes]:
        """Yield the body.

        Raises:
            AnswerError: if it breaks off.
            TimedOutError: if nothing more comes in time.
        """
        try:
            while piece := self._response.read1(_PIECE):
                yield piece
            if self._response.length:
                raise _broken()
        except TimeoutError:
            raise TimedOutError("the answer stopped coming", fix="a longer --timeout waits for more") from None
        except (HTTPException, OSError):
            raise _broken() from None
        finally:
            self._line.close()

    def read(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.pieces())


def _broken() -> AnswerError:
    return AnswerError("the answer broke off before its end", code="Broken", fix="kubectl llama logs says why")


def post(line: Line, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send a request and return the answer once it begins.

    Raises:
        AnswerError: if the connection ends before.
        TimedOutError: if none comes in time.
    """
    try:
        line.request("POST", path, body=body, headers=dict(headers))
        return Answer(line.getresponse(), line)
    except TimeoutError:
        raise TimedOutError("no answer in time; it goes on", fix="a longer --timeout waits for it") from None
    except (HTTPException, OSError) as error:
        raise AnswerError(
            f"the connection to the pod ended: {type(error).__name__}",
            code="Broken",
            fix="kubectl llama status says whether it serves",
        ) from None
