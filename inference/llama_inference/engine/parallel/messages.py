"""What the leader and its followers say to each other, and how it travels.

A follower believes what the leader says: it is pickled. The leader reads plain JSON from whoever connects.
"""

import json
import pickle
import socket
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

from llama_inference.engine.native.layout import Layout
from llama_inference.errors import LoadError, LoadReason
from llama_inference.values import Json

# A peer whose machine is gone says nothing: the kernel asks after 10 s of silence, and gives up 20 s later.
KEEP_ALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4))


@dataclass(frozen=True, slots=True)
class Join:
    """Join the group at `rendezvous`, as torch's `init_process_group` names it."""

    rendezvous: str


@dataclass(frozen=True, slots=True)
class Compute:
    """Carry out a step."""

    layout: Layout


@dataclass(frozen=True, slots=True)
class Reset:
    """Give back all slabs."""


@dataclass(frozen=True, slots=True)
class Bye:
    """It is over, and nothing is wrong."""


Order: TypeAlias = Join | Compute | Reset | Bye


def connection(peer: socket.socket) -> Connection:
    """Return a connected socket as a connection that keeps messages apart and notices a peer that is gone."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE:
        peer.setsockopt(socket.IPPROTO_TCP, option, value)
    return Connection(peer.detach())


def encode(order: Order) -> bytes:
    """Return an order as bytes."""
    return pickle.dumps(order, pickle.HIGHEST_PROTOCOL)


def decode(message: bytes) -> Order:
    """Return the order in bytes that the leader has sent."""
    return pickle.loads(message)  # noqa: S301 - the leader's address comes from the settings


def hello(rank: int, size: int, error: LoadError | None = None) -> dict[str, Json]:
    """What a follower says first, once it has loaded its part or failed to."""
    failed = None if error is None else {"reason": error.reason.value, "message": str(error)}
    return {"rank": rank, "size": size, "failed": failed}


def failure(message: dict[str, Json]) -> LoadError | None:
    """The error in a follower's hello, if there is one."""
    failed = message["failed"]
    if failed is None:
        return None
    return LoadError(LoadReason(failed["reason"]), f"rank {message['rank']}: {failed['message']}")


def send(to: Connection, message: dict[str, Json]) -> None:
    """Send a follower's message."""
    to.send_bytes(json.dumps(message).encode())


def receive(of: Connection) -> dict[str, Json]:
    """Receive a follower's message.

    Raises:
        EOFError, OSError: it is gone.
        ValueError: this is no follower.
    """
    message: Json = json.loads(of.recv_bytes(maxlength=1 << 16))
    if not isinstance(message, dict):
        raise ValueError("not a follower's message")  # noqa: TRY004 - of the same kind as what json raises
    return message
