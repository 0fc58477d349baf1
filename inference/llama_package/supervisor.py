"""Starts the truss server of a package, says how it fares, and starts it again: the container's first process.

It never ends because of what a package does: a load that fails is told in the report, and tried again where time may
mend it (what `load` raises, a missing secret), or left alone where it may not (an import, a signature).
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Generator  # noqa: UP035 - as Python 3.9 evaluates aliases

from llama_package import files
from llama_package.server import ENDED, FAILED, READY, SERVING, STARTING, Server, reap_orphans, say
from llama_package.surroundings import Surroundings, from_process

TICK_S = 0.2
LAST_SECONDS = 5.0  # for what runs when the pod ends: the server in front has answered all its callers by then
STEADY_S = 60.0  # a server that served so long begins anew with the waits
THRESHOLD = "runtime.health_checks.startup_threshold_seconds"
MENDED_BY_TIME = ("load", "secret")


class Supervisor:
    """The state of one package: which server serves, what went wrong, when it is tried again."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.lock = threading.RLock()  # held by whoever exchanges the server
        self.environment = dict(surroundings.environment)
        self.hash = surroundings.digest
        self.current: Server | None = None
        self.ending = threading.Event()
        self._numbers = 0
        self._attempt = 1
        self._retry_at: float | None = None
        self._healthy = True
        self._unhealthy_since: float | None = None
        self._told = ""
        self._secrets_seen = surroundings.secrets_seen()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._judged: Server | None = None  # whose end has been dealt with
        self._exchanging = False
        self._servers: set[Server] = set()  # that may still run

    def begin(self) -> None:
        """Lay the package out and start its server; what has been changed in development is kept."""
        where = self.surroundings
        where.run.mkdir(parents=True, exist_ok=True)
        if where.development and self._state.exists():
            kept = json.loads(self._state.read_text())
            self.hash, self.environment = kept["hash"], {**self.environment, **kept["environment"]}
        elif where.layout is not None:
            files.lay_out(where.layout, where.app, where.packages)
        self.start()

    @property
    def _state(self) -> Path:
        """Where what has been changed outlives the container."""
        return self.surroundings.run / "state.json"

    def moved(self, to: str, environment: dict[str, str]) -> None:
        """Note that other code serves now, and what names it."""
        with self.lock:
            self.hash, self.environment = to, environment
            changed = {k: v for k, v in environment.items() if self.surroundings.environment.get(k) != v}
            files.write(self._state, json.dumps({"hash": to, "environment": changed}))
        self.wake()

    @property
    def model_dir(self) -> str:
        """The folder of the model's code in /app."""
        server = self.current
        return str((server.config if server is not None else {}).get("model_module_dir") or "model")

    @contextlib.contextmanager
    def exchanging(self) -> Generator[None, None, None]:
        """While the block runs, a server that ends was ended on purpose."""
        with self.lock:
            self._exchanging = True
        try:
            yield
        finally:
            with self.lock:
                self._exchanging = False
            self.wake()

    def new_server(self, environment: dict[str, str] | None = None) -> Server:
        """Start one more process; it serves nobody before `adopt`."""
        where = self.surroundings
        with self.lock:
            self._numbers += 1
            server = Server(
                self._numbers,
                python=where.python,
                app=where.app,
                run=where.run,
                environment=self.environment if environment is None else environment,
                changed=self.wake,
            )
            self._servers = {other for other in self._servers if other.alive} | {server}
        return server

    def start(self) -> None:
        """Start the server, as the one that counts."""
        with self.lock:
            self._retry_at = None
            self._secrets_seen = self.surroundings.secrets_seen()
            self.adopt(self.new_server())

    def adopt(self, server: Server) -> None:
        """Let `server` be the one that callers reach."""
        with self.lock:
            self.current = server
            self._healthy, self._unhealthy_since = True, None
            files.turn(self.surroundings.socket, server.socket)
        self.wake()

    def wake(self) -> None:
        """Have the loop look now; from any thread."""
        self._wake.put(None)

    def run(self) -> None:
        """Watch until the pod ends."""
        threading.Thread(target=self._watch_health, name="health", daemon=True).start()
        while not self.ending.is_set():
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=TICK_S)
            with self.lock:
                self._judge()
                self._report()
            reap_orphans({server.pid for server in self._servers})
        for server in self._servers:
            server.stop(LAST_SECONDS)

    def _judge(self) -> None:
        server = self.current
        if server is None or self._exchanging:
            return
        now = time.monotonic()
        if server.state in (FAILED, ENDED) and self._judged is not server:
            self._judged = server
            self._lost(server, now)
        elif server.state == SERVING and self._attempt > 1 and now - server.serving_since > STEADY_S:
            self._attempt = 1
        elif server.state not in (SERVING, FAILED, ENDED):
            self._judge_slowness(server, now)
        due = self._retry_at is not None and now >= self._retry_at
        waits = server.state in (FAILED, ENDED)
        if waits and (due or self._secret_came(server)):
            self._attempt += 1
            self.start()

    def _lost(self, server: Server, now: float) -> None:
        """A server failed to load, or ended: decide when it is tried again."""
        threading.Thread(target=server.stop, args=(1.0,), name="stopping", daemon=True).start()
        failure = server.failure or {}
        say("the package does not serve", **{k: failure.get(k) for k in ("kind", "type", "file", "line")})
        if failure.get("kind") not in MENDED_BY_TIME:
            self._retry_at = None
        elif server.serving_since:  # it served: what ended it need not come again
            self._retry_at = now + (0.0 if self._attempt == 1 else self._wait())
        else:
            self._retry_at = now + self._wait()

    def _wait(self) -> float:
        where = self.surroundings
        return min(where.longest_wait, where.first_wait * 2 ** (self._attempt - 1))

    def _secret_came(self, server: Server) -> bool:
        if (server.failure or {}).get("kind") not in MENDED_BY_TIME:
            return False
        return self.surroundings.secrets_seen() != self._secrets_seen

    def _judge_slowness(self, server: Server, now: float) -> None:
        longest = self._health_checks(server).get("startup_threshold_seconds")
        if longest and now - server.began > longest:
            self._give_up(server, f"the {longest} s of {THRESHOLD}")

    @staticmethod
    def _give_up(server: Server, limit: str) -> None:
        """Take a server that still loads for one that failed to."""
        message = f"load was not done within {limit}"
        server.failure = {"kind": "load", "type": "TimeoutError", "message": message}
        server.state = FAILED
        server.settled.set()

    def settles(self, server: Server) -> bool:
        """Wait until a changed package's server serves or does not, for no longer than it may load."""
        while not server.settled.wait(TICK_S):
            longest = self._health_checks(server).get("startup_threshold_seconds")
            if time.monotonic() - server.began > (longest or self.surroundings.longest_load):
                with self.lock:
                    if not server.settled.is_set():
                        limit = f"the {longest} s of" if longest else f"{self.surroundings.longest_load:g} s, set"
                        self._give_up(server, f"{limit} {THRESHOLD}")
        return server.state == SERVING

    @staticmethod
    def _health_checks(server: Server) -> dict[str, Any]:
        return (server.config.get("runtime") or {}).get("health_checks") or {}

    def _watch_health(self) -> None:
        while not self.ending.wait(self.surroundings.health_every):
            server = self.current
            if server is not None and server.state == SERVING:
                status, _ = server.ask("GET", READY, self.surroundings.health_every)
                if status:  # a server that is too busy to say is taken for what it was
                    self._health(server, healthy=status == 200)

    def _health(self, server: Server, *, healthy: bool) -> None:
        now = time.monotonic()
        with self.lock:
            if server is not self.current:
                return
            if healthy:
                self._healthy, self._unhealthy_since = True, None
                return
            self._unhealthy_since = self._unhealthy_since or now
            checks = self._health_checks(server)
            unhealthy = now - self._unhealthy_since
            self._healthy = unhealthy < (checks.get("stop_traffic_threshold_seconds") or 0)
            limit, delay = checks.get("restart_threshold_seconds"), checks.get("restart_check_delay_seconds") or 0
            if limit and unhealthy >= limit and now - server.serving_since >= delay:
                say("is_healthy says no for too long: the server is started anew", seconds=round(unhealthy))
                threading.Thread(target=server.stop, args=(LAST_SECONDS,), daemon=True).start()
                self.start()
        self.wake()

    def told(self) -> dict[str, Any]:
        """What the server in front reads, but for the time of the next attempt."""
        server = self.current
        if server is None:
            return {"state": STARTING, "hash": self.hash}
        ended = server.state in (FAILED, ENDED)
        failure = server.failure if ended and not self._exchanging else None
        state = FAILED if failure is not None else STARTING if ended else server.state
        return {
            "state": state,
            "hash": self.hash,
            "attempt": self._attempt,
            "healthy": self._healthy,
            "runtime": server.config.get("runtime") or {},
            "python": ".".join(map(str, sys.version_info[:3])),
            "failure": None if failure is None else self.clean(failure),
        }

    def _report(self) -> None:
        told = self.told()
        text = json.dumps(told, sort_keys=True)
        if text != self._told:
            self._told = text
            wait = None if self._retry_at is None else time.time() + self._retry_at - time.monotonic()
            files.write(self.surroundings.report, json.dumps({**told, "retry_at": wait}))

    def clean(self, failure: dict[str, Any], *, traceback: bool = False) -> dict[str, Any]:
        """A failure without a secret in it; its traceback only for who may see the package's code."""
        names = ("kind", "type", "message", "file", "line", *(("traceback",) if traceback else ()))
        found = {name: failure.get(name) for name in names}
        for secret in self.surroundings.secret_forms():
            for name, value in found.items():
                if isinstance(value, str):
                    found[name] = value.replace(secret, "***")
        return found


def main() -> None:
    """Supervise until SIGTERM."""
    supervisor = Supervisor(from_process())

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        supervisor.ending.set()
        supervisor.wake()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    supervisor.begin()
    if supervisor.surroundings.development:
        from llama_package import control  # noqa: PLC0415 - it stands above this module

        control.serve(supervisor)
    supervisor.run()
