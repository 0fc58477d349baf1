"""A real server for tests: uvicorn on a free port in a thread, a backend whose steps a test lets pass one by one."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import httpx2
import uvicorn
from starlette.types import ASGIApp

from llama_inference import connections
from llama_inference.app import OpenBackend, Server
from llama_inference.backends.base import Control
from llama_inference.backends.mock import MockBackend
from llama_inference.settings import Settings
from llama_inference.values import Generation, Sequence

T = TypeVar("T")
JSON = {"content-type": "application/json"}
PATIENCE_S = 10.0
LOADING_S = 120.0  # a real model on a busy machine, torch's import included


def eventually(condition: Callable[[], object], what: str = "the condition", seconds: float = PATIENCE_S) -> None:
    """Return as soon as a condition holds; fail when it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what} did not come true in {seconds:g} s"
        time.sleep(0.002)


async def soon(condition: Callable[[], object], what: str = "the condition") -> None:
    """`eventually` on an event loop."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"{what} did not come true in {PATIENCE_S:g} s"
        await asyncio.sleep(0.002)


class Gate:
    """The pace of a mock backend: open, or closed and passed by as many steps as were let through."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.passed = 0
        self._open = is_open
        self._allowed = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        """One step: wait until it may pass."""
        with self._changed:
            # Longer than any test waits: a step that nobody lets pass must not look like the end of its generation.
            if not self._changed.wait_for(lambda: self._open or self._allowed > 0, 6 * PATIENCE_S):
                raise TimeoutError("no test lets this step pass")
            if not self._open:
                self._allowed -= 1
            self.passed += 1

    def let(self, steps: int) -> None:
        """Let some steps pass."""
        with self._changed:
            self._allowed += steps
            self._changed.notify_all()

    def open(self) -> None:
        """Let all steps pass from now on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def begin_anew(self) -> None:
        """Hold every step from now on, and count from zero."""
        with self._changed:
            self._open, self._allowed, self.passed = False, 0, 0


class PacedBackend(MockBackend):
    """A mock that counts its generations, and can be told to fail at its next."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(pace=gate)
        self.gate = gate
        self.begun = 0
        self.fails_with: BaseException | None = None

    def begin_anew(self) -> None:
        """As new, with the gate closed."""
        self.gate.begin_anew()
        self.begun, self.fails_with = 0, None

    def generate(self, generation: Generation, control: Control) -> list[Sequence]:
        """Generate, or fail once as told."""
        self.begun += 1
        error, self.fails_with = self.fails_with, None
        if error is not None:
            raise error
        return super().generate(generation, control)


def settings(**given: Any) -> Settings:
    """Settings of a server without a model, that ends its drain at once when idle."""
    values: dict[str, Any] = {"backend": "mock", "drain_notice_seconds": 0.0, "served_name": "tiny", **given}
    return Settings(**values)


class _Listener(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks ten times a second, which adds up over many tests."""
        await self.stop.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class Listening:
    """An application that listens on a free port, in a thread."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        local = settings.model_copy(update={"host": "127.0.0.1", "port": 0})
        self._listener = _Listener(connections.config(app, local))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="served", daemon=True)

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            await self._listener.serve()

        asyncio.run(main())

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listener.listening.wait(PATIENCE_S)
        self.port: int = self._listener.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx2.Client(base_url=self.url, timeout=LOADING_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._listener.force_exit = True
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._listener.stop.set)
        self._thread.join(PATIENCE_S)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin something on the server's event loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)


class Served(Listening):
    """A server that listens; talk to it over HTTP, or look at its parts."""

    def __init__(self, server: Server) -> None:
        self.server = server
        super().__init__(server.app, server.settings)

    @property
    def connections(self) -> set[object]:
        """The connections that are open."""
        return set(self._listener.server_state.connections)

    def drain(self) -> "Future[bool]":
        """Begin the drain, as SIGTERM does."""
        return self.start(self.server.drain())

    def soon(self, call: Callable[[], None]) -> None:
        """Call something on the server's event loop."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(call)

    def predict(self, body: Mapping[str, Any], **headers: str) -> httpx2.Response:
        """Ask and wait."""
        return self.client.post(
            "/predict", json=dict(body), headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def ask(self, body: Mapping[str, Any], **headers: str) -> "Call":
        """Ask without waiting."""
        return Call(lambda: self.predict(body, **headers))

    def events(self, body: Mapping[str, Any]) -> list[str]:
        """Ask for a stream; return its events without the blank lines between them."""
        answer = self.predict({**body, "stream": True})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text.endswith("\n\n")
        return answer.text.removesuffix("\n\n").split("\n\n")

    @contextmanager
    def connection(self, body: Mapping[str, Any]) -> Generator[socket.socket]:
        """Send a request over a bare connection; the end of the block hangs up."""
        content = json.dumps(body).encode()
        head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + content)
            yield connection

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 when it has none yet."""
        return self.server.metrics.registry.get_sample_value(f"llama_inference_{name}", labels) or 0.0

    def hang_up_is_noticed(self, before: float) -> None:
        """Wait until one more request has been given up than there were `before`."""
        eventually(lambda: self.hung_up == before + 1, "the hang-up being noticed")

    @property
    def hung_up(self) -> float:
        """How many requests were given up by their callers."""
        return self.metric("requests_abandoned_total", reason="hung_up")

    def waits_for(self, *, running: int, waiting: int) -> None:
        """Wait until that many requests run and wait."""
        now = lambda: (self.metric("num_requests_running"), self.metric("num_requests_waiting"))  # noqa: E731
        eventually(lambda: now() == (running, waiting), f"{running} running and {waiting} waiting")

    def ready(self) -> Self:
        """Wait until the server answers predict."""
        eventually(lambda: self.server.serving.lifecycle.ready, "ready", LOADING_S)
        return self


class Call:
    """A request under way in a thread."""

    def __init__(self, send: Callable[[], httpx2.Response]) -> None:
        self._response: httpx2.Response | None = None
        self._thread = threading.Thread(target=self._run, args=(send,), daemon=True)
        self._thread.start()

    def _run(self, send: Callable[[], httpx2.Response]) -> None:
        self._response = send()

    def response(self, seconds: float = PATIENCE_S) -> httpx2.Response:
        """Wait for the answer."""
        self._thread.join(seconds)
        assert self._response is not None, "there is no answer"
        return self._response


def serve(open_backend: OpenBackend, *, lost: list[str] | None = None, **given: Any) -> Served:
    """A server, not started yet, whose backend comes from `open_backend`; the loss of its engine is put into `lost`."""
    reasons = [] if lost is None else lost
    return Served(Server(settings(**given), open_backend, on_lost=reasons.append))


def serve_mock(gate: Gate | None = None, *, lost: list[str] | None = None, **given: Any) -> tuple[Served, PacedBackend]:
    """A server, not started yet, over a mock backend."""
    backend = PacedBackend(gate or Gate())
    return serve(lambda _progress, _metrics: backend, lost=lost, **given), backend


def errors(answer: httpx2.Response) -> tuple[int, str, str | None, str]:
    """Status, code, param and message of an answer that is not a success, whose form is checked here."""
    body = answer.json()
    assert set(body) == {"status", "data", "message", "error"}
    assert (body["status"], body["data"]) == ("error", None)
    assert set(body["error"]) == {"code", "param"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, body["error"]["code"], body["error"]["param"], body["message"]
