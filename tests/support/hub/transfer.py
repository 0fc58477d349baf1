"""Send a body over a socket, as slowly, as little or as abruptly as the faults say."""

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator

from .faults import Fault
from .wire import Slice

CHUNK = 256 * 1024
_LINGER_AND_RESET = struct.pack("ii", 1, 0)


def _pieces(body: bytes | Slice, size: int) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield from (body[at : at + size] for at in range(0, len(body), size))
        return
    left = body.stop - body.start
    with body.path.open("rb") as stream:
        stream.seek(body.start)
        while left and (piece := stream.read(min(size, left))):
            left -= len(piece)
            yield piece


def gone(connection: socket.socket) -> bool:
    """Whether the client closed the connection; it sends nothing while it waits for an answer."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


def hold(connection: socket.socket, fault: Fault) -> None:
    """Send nothing until the fault is cleared.

    Raises:
        ConnectionError: the client gave up, or the server stops and has shut the connection down.
    """
    while not fault.cleared.wait(0.05):
        if gone(connection):
            raise ConnectionAbortedError("the client or the server gave up during a stall")


class Transfer:
    """One body on its way.

    Args:
        connection: where it goes.
        faults: what goes wrong with it.
        note: called with the bytes sent so far.
    """

    def __init__(self, connection: socket.socket, faults: list[Fault], note: Callable[[int], None]) -> None:
        self._connection = connection
        self._faults = {fault.kind: fault for fault in faults}
        self._note = note
        self._sent = 0

    def send(self, body: bytes | Slice) -> bool:
        """Send the body.

        Returns: False when a fault broke it off.

        Raises:
            ConnectionError: the client gave up, or the server stops.
        """
        slow = self._faults.get("slow")
        size = max(slow.bytes_per_second // 20, 1) if slow else CHUNK
        for piece in _pieces(body, size):
            if not self._pass(piece):
                return False
            if slow:
                slow.cleared.wait(len(piece) / slow.bytes_per_second)
        return True

    def _pass(self, piece: bytes) -> bool:
        """Send a piece; False when the transfer was broken off within it."""
        while piece:
            striking = self._striking()
            due = next((fault for fault in striking if fault.after <= self._sent), None)
            if due is not None:
                if not self._strike(due):
                    return False
                continue
            now = piece[: min((fault.after - self._sent for fault in striking), default=len(piece))]
            self._connection.sendall(now)
            self._sent += len(now)
            self._note(self._sent)
            piece = piece[len(now) :]
        return True

    def _striking(self) -> list[Fault]:
        kinds = ("reset", "cut", "stall")
        return [fault for kind in kinds if (fault := self._faults.get(kind)) and not fault.cleared.is_set()]

    def _strike(self, fault: Fault) -> bool:
        """Carry a fault out; True when the transfer goes on after it."""
        if fault.kind == "stall":
            hold(self._connection, fault)
            return True
        if fault.kind == "reset":
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
            # Below the server's back: it would say goodbye in an orderly way first, and no reset would follow.
            os.close(self._connection.detach())
        return False
