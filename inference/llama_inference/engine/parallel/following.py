"""A follower's side: it reports to the leader, then computes what it is told until the leader lets it go."""

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final

import torch

from llama_inference.engine.device import free_memory
from llama_inference.engine.native.ranks import Group
from llama_inference.engine.native.stepper import Stepper
from llama_inference.engine.parallel.member import Part
from llama_inference.engine.parallel.messages import Bye, Compute, Join, Order, Reset, connection, decode, hello, send
from llama_inference.engine.parallel.topology import Topology
from llama_inference.errors import EngineLostError, LoadError, LoadReason

log = logging.getLogger(__name__)
RETRY_S: Final = 1.0
CONNECT_S: Final = 10.0


class Follower:
    """The connection to the leader. What it says is read by a thread, so that its end is noticed within a step too."""

    def __init__(self, topology: Topology, rank: int, *, on_gone: Callable[[str], None]) -> None:
        """`on_gone` is called from another thread when the leader has gone without a word."""
        self._topology = topology
        self._rank = rank
        self._on_gone = on_gone
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._leader: Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether the leader's end will be noticed."""
        return self._leader is not None

    def report(self, error: LoadError | None = None) -> None:
        """Connect, however long the leader takes to listen, and say that this rank has loaded its part, or why not."""
        leader = self._connect()
        send(leader, hello(self._rank, self._topology.size, error))
        threading.Thread(target=self._listen, args=(leader,), name="leader", daemon=True).start()
        self._leader = leader

    def _connect(self) -> Connection:
        where = (self._topology.address, self._topology.port)
        told = False
        while True:
            try:
                peer = socket.create_connection(where, timeout=CONNECT_S)
            except OSError as error:  # not there yet, or not in the name service yet
                if not told:
                    log.info("waiting for the leader at %s:%s", *where, extra={"detail": str(error)})
                told = True
                time.sleep(RETRY_S)
            else:
                peer.settimeout(None)
                return connection(peer)

    def _listen(self, leader: Connection) -> None:
        while True:
            try:
                order = decode(leader.recv_bytes())
            except (EOFError, OSError):
                self._orders.put(None)
                self._on_gone("the leader, rank 0, is gone")
                return
            self._orders.put(order)
            if isinstance(order, Bye):
                return

    def join(self, part: Part, *, max_context: int) -> Stepper:
        """Join the others once all are there; return what computes the steps.

        Raises:
            LoadError: the leader has given up this start, and will begin anew.
            EngineLostError: the leader is gone.
        """
        order = self._next()
        if not isinstance(order, Join):
            raise LoadError(LoadReason.LOAD_FAILED, "the leader could not load its part; its /startupz says why")
        device = part.weights.embedding.device
        group = Group(order.rendezvous, rank=self._rank, size=self._topology.size, device=device)
        stepper = Stepper(part.model, part.weights, max_context=max_context, ranks=group)
        if self._leader is not None:
            send(self._leader, {"free": free_memory(str(device))})
        return stepper

    def follow(self, stepper: Stepper) -> None:
        """Compute until the leader says that it is over.

        Raises:
            EngineLostError: the leader is gone, or a step failed here.
        """
        while True:
            match self._next():
                case Compute(layout):
                    try:
                        stepper.carry_out(layout)
                    except (RuntimeError, torch.OutOfMemoryError) as error:
                        raise EngineLostError(f"rank {self._rank} cannot compute a step: {error}") from error
                case Reset():
                    stepper.clear()
                case Bye():
                    return
                case Join():
                    raise EngineLostError("the leader asks to join twice")

    def _next(self) -> Order:
        order = self._orders.get()
        if order is None:
            raise EngineLostError("the leader, rank 0, is gone")
        return order
