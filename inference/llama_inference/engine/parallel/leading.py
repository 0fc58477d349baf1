"""The leader's side: it waits for all followers, tells them each step, and notices when one is gone."""

import contextlib
import logging
import queue
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Final

from llama_inference.engine.parallel.children import Children
from llama_inference.engine.parallel.messages import Bye, Order, connection, encode, failure, receive
from llama_inference.engine.parallel.topology import Topology
from llama_inference.errors import EngineLostError, LoadError, LoadReason
from llama_inference.values import Json

log = logging.getLogger(__name__)
LOOK_S: Final = 0.2  # between looks at those that are there, while others are waited for
HELLO_S: Final = 5.0
BLAME_S: Final = 5.0  # how long a failed exchange waits to learn whose end it was


def listen(topology: Topology) -> socket.socket:
    """Return the socket that followers connect to.

    Raises:
        LoadError: the port is taken.
    """
    try:
        if topology.nodes == 1:
            return socket.create_server((topology.address, 0))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", topology.port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", topology.port))
    except OSError as error:
        message = f"the ranks cannot meet on port {topology.port} ({error.strerror}): set another LEADER_PORT"
        raise LoadError(LoadReason.LOAD_FAILED, message) from error


class Leader:
    """Rank 0's connections to all others."""

    def __init__(
        self, topology: Topology, listener: socket.socket, children: Children, *, on_lost: Callable[[str], None]
    ) -> None:
        """`on_lost` is called once, from another thread, with who was lost after all had joined."""
        self._topology = topology
        self._listener = listener
        self._children = children
        self._on_lost = on_lost
        self._followers: dict[int, Connection] = {}
        self._sending = threading.Lock()
        self._lost = threading.Event()
        self._reason = ""
        self._closing = False
        self._said: queue.SimpleQueue[dict[str, Json] | None] = queue.SimpleQueue()

    def gather(self) -> None:
        """Wait until every follower has loaded its part; from then on it is noticed at once when one is gone.

        Raises:
            LoadError: one of them could not, and says why.
            EngineLostError: one of them has died.
        """
        self._listener.settimeout(LOOK_S)
        while missing := set(range(1, self._topology.size)) - self._followers.keys():
            for rank, how in self._children.ended().items():
                if rank in missing:
                    raise EngineLostError(f"rank {rank} {how} while it loaded")
            gone = wait(list(self._followers.values()), 0)
            for rank in [rank for rank, follower in self._followers.items() if follower in gone]:
                raise EngineLostError(self._tell(rank))
            try:
                peer, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._greet(connection(peer))
        self._listener.close()
        threading.Thread(target=self._watch, name="ranks", daemon=True).start()

    def _greet(self, peer: Connection) -> None:
        """Take in who has connected, if it is a follower."""
        try:
            message = receive(peer) if peer.poll(HELLO_S) else {}
            rank, size = int(message["rank"]), int(message["size"])
        except (EOFError, OSError, ValueError, KeyError, TypeError):
            log.info("somebody who is no rank has connected")
            peer.close()
            return
        if size != self._topology.size:
            text = f"rank {rank} believes in {size} ranks, not {self._topology.size}: TENSOR_PARALLEL and NODES differ"
            raise LoadError(LoadReason.LOAD_FAILED, f"{text} between the nodes")
        if not 0 < rank < size or rank in self._followers:
            text = f"rank {rank} has come twice: give each node a NODE_RANK of its own"
            raise LoadError(LoadReason.LOAD_FAILED, text)
        error = failure(message)
        if error is not None:
            raise error
        self._followers[rank] = peer
        log.info("rank %s is there", rank, extra={"rank": rank, "of": size})

    def _watch(self) -> None:
        """Take in what followers say, which is little, until one of them is gone."""
        while True:
            for follower in wait(list(self._followers.values())):
                rank = next(rank for rank, each in self._followers.items() if each is follower)
                try:
                    self._said.put(receive(self._followers[rank]))
                except (EOFError, OSError, ValueError):
                    self._lose(rank)
                    return

    def _lose(self, rank: int) -> None:
        if self._closing:
            return
        self._reason = self._tell(rank)
        self._lost.set()
        self._said.put(None)
        self._on_lost(self._reason)

    def answers(self) -> list[dict[str, Json]]:
        """Wait for one message of each follower.

        Raises:
            EngineLostError: one of them has died.
        """
        found: list[dict[str, Json]] = []
        for _ in self._followers:
            message = self._said.get()
            if message is None:
                raise EngineLostError(self._reason)
            found.append(message)
        return found

    def _tell(self, rank: int) -> str:
        how = self._children.how(rank)
        return f"rank {rank} {how}" if how else f"rank {rank} on node {self._topology.node_of(rank)} is gone"

    def blame(self, error: Exception) -> EngineLostError:
        """What to raise for an exchange that failed: who was lost, as soon as that is known."""
        if self._lost.wait(BLAME_S):
            return EngineLostError(self._reason)
        return EngineLostError(f"the ranks fell apart in a step: {error}")

    def tell(self, order: Order) -> None:
        """Send an order to all followers.

        Raises:
            EngineLostError: one of them is gone.
        """
        message = encode(order)
        with self._sending:
            try:
                for follower in self._followers.values():
                    follower.send_bytes(message)
            except OSError as error:
                raise self.blame(error) from error

    def close(self) -> None:
        """Let all followers go, and the children end."""
        self._closing = True
        self._listener.close()
        if self._sending.acquire(timeout=1.0):  # one that does not read any more must not hold up the end
            try:
                for follower in self._followers.values():
                    with contextlib.suppress(OSError):
                        follower.send_bytes(encode(Bye()))
            finally:
                self._sending.release()
        self._children.end(patience=2.0 if self._followers else 0.0)
