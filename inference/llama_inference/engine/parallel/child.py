"""A rank in a process of its own: `python -m llama_inference.engine.parallel.child`, started by `children`.

Its orders are one line of JSON on standard input; the end of that input is the end of the process that started it.
"""

import dataclasses
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn, Protocol

from llama_inference import logs
from llama_inference.engine.parallel.topology import Topology
from llama_inference.errors import EngineLostError, LoadError
from llama_inference.values import Json

log = logging.getLogger("llama_inference.engine.parallel.child")  # not __name__: under `python -m` that is another


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a child is to do.

    Attributes:
        max_context: positions, as the leader has it.
    """

    rank: int
    topology: Topology
    folder: str
    dtype: str
    max_context: int

    def json(self) -> dict[str, Json]:
        """As `of` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, given: dict[str, Json]) -> "Orders":
        """From what `json` returned."""
        rest = {name: value for name, value in given.items() if name != "topology"}
        return cls(topology=Topology(**given["topology"]), **rest)


def main() -> None:
    """Load a part, join, and compute until the leader lets go.

    Exit codes: 0 when it does, 1 when the leader or the starting process is gone, or this rank has failed.
    """
    logs.configure()
    # Who runs finishes: the leader says when. A terminal sends its signals to children as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _exit(run(Orders.of(json.loads(sys.stdin.readline()))))


def run(orders: Orders) -> int:
    """Carry out the orders; return the exit code."""
    # These take seconds to import; the starting process may end meanwhile, which is noticed when it is read below.
    from llama_inference.engine.parallel.following import Follower  # noqa: PLC0415
    from llama_inference.engine.parallel.member import load_part  # noqa: PLC0415

    rank = orders.rank
    follower = Follower(orders.topology, rank, on_gone=lambda reason: _end(rank, reason))
    threading.Thread(target=_lifeline, args=(rank, follower), name="lifeline", daemon=True).start()
    try:
        part = load_part(Path(orders.folder), orders.dtype, orders.topology, rank)
    except LoadError as error:
        follower.report(error)
        return 1
    follower.report()
    try:
        follower.follow(follower.join(part, max_context=orders.max_context))
    except LoadError:
        return 1  # the leader knows, and begins anew
    except EngineLostError as error:
        _end(rank, str(error))
    return 0


class Connected(Protocol):
    """What may be connected to the leader."""

    @property
    def connected(self) -> bool:
        """Whether it is."""
        ...


def _lifeline(rank: int, follower: "Connected") -> None:
    while os.read(sys.stdin.fileno(), 1):  # not by the file object, whose lock would be held at the end
        pass
    if not follower.connected:  # afterwards the connection's end says more: whether it came with a word
        _end(rank, "the process that started it is gone")


def _end(rank: int, reason: str) -> None:
    """End at once: the main thread may wait within a step for those that are gone."""
    log.critical("rank %s stops: %s", rank, reason, extra={"rank": rank})
    _exit(1)


def _exit(code: int) -> NoReturn:
    """End without waiting for threads, which wait for others."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
