"""Live reload: a change is made on a copy, takes the package's place, and stays only if it serves.

Three ways: `beside`, where a second process loads and then takes over; `restart`, where the first is stopped before,
for what fits only once into a GPU; `hot`, where the running process swaps its class. In each of them the last good code
serves on when the new does not, and the hash names what serves.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Mapping  # noqa: UP035 - as Python 3.9 evaluates aliases

from llama_package.patches import INADMISSIBLE, RECOVERABLE, Change, Generation, PatchError, parse
from llama_package.server import SERVING, Server, say
from llama_package.supervisor import Supervisor

UNNOTICED_S = 1.0  # for requests that were on their way to the former process when the link was turned
GRACE_S = 30.0  # for requests that `restart` finds under way


class Reloads:
    """Makes changes, one after another."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._lock = threading.Lock()

    def apply(self, asked: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a request's body holds
        """Make a change; return what became of it once it serves: hash, way, seconds.

        Raises:
            PatchError: it is not made, or what it made does not load; what ran before runs on.
        """
        began = time.monotonic()
        with self._lock:
            change, supervisor = parse(asked), self._supervisor
            if change.hash == supervisor.hash:
                return {"hash": change.hash, "way": "none", "seconds": 0.0}
            if change.previous != supervisor.hash:
                message = f"the change is made for {change.previous}, but {supervisor.hash} runs: compare anew"
                raise PatchError(INADMISSIBLE, message)
            way = self._way(change)
            say("the package changes", hash=change.hash, way=way)
            self._make(change, way)
            return {"hash": change.hash, "way": way, "seconds": round(time.monotonic() - began, 2)}

    def restart(self) -> None:
        """Start the same code anew.

        Raises:
            PatchError: it does not load.
        """
        with self._lock:
            failure = self._restarted(self._supervisor.environment)
        if failure is not None:
            raise PatchError(RECOVERABLE, "the package does not load", failure)

    def _way(self, change: Change) -> str:
        current = self._supervisor.current
        serves = current is not None and current.state == SERVING
        if change.way == "hot" and change.is_code and serves:
            return "hot"
        if change.way == "restart" or (change.way != "beside" and has_gpu()):
            return "restart"
        return "beside"

    def _make(self, change: Change, way: str) -> None:
        supervisor = self._supervisor
        where = supervisor.surroundings
        before, after = supervisor.environment, dict(supervisor.environment)
        generation = Generation(where.app, where.packages, supervisor.model_dir)
        try:
            generation.change(change, after, where.python)
            generation.exchange()
            failure = {"hot": self._hot, "beside": self._beside, "restart": self._restarted}[way](after)
            if failure is None:
                supervisor.moved(change.hash, after)
                return
            generation.exchange()
            if way == "restart":
                self._restarted(before)
            raise PatchError(RECOVERABLE, "the changed package does not load", failure)
        finally:
            generation.discard()

    def _hot(self, environment: Mapping[str, str]) -> dict[str, Any] | None:
        del environment
        current = self._supervisor.current
        return None if current is None else current.hot_reload()

    def _beside(self, environment: dict[str, str]) -> dict[str, Any] | None:
        former = self._supervisor.current
        server = self._supervisor.new_server(environment)
        if not self._supervisor.settles(server):
            server.stop(1.0)
            return server.failure
        self._supervisor.adopt(server)
        if former is not None:
            threading.Thread(target=self._retire, args=(former,), name="retiring", daemon=True).start()
        return None

    def _retire(self, former: Server) -> None:
        time.sleep(UNNOTICED_S)
        former.stop(self._supervisor.surroundings.drain_seconds)

    def _restarted(self, environment: dict[str, str]) -> dict[str, Any] | None:
        with self._supervisor.exchanging():
            former = self._supervisor.current
            if former is not None:
                former.stop(GRACE_S)
            server = self._supervisor.new_server(environment)
            self._supervisor.adopt(server)
            if self._supervisor.settles(server):
                return None
            server.stop(1.0)
            return server.failure


def has_gpu() -> bool:
    """Whether the container has a GPU, into which a second copy of a model is not likely to fit."""
    return any(Path("/dev").glob("nvidia[0-9]*"))
