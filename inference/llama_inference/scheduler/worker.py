"""The engine thread: opens a backend, then runs one job at a time on it. Nothing slow runs anywhere else.

It is a daemon: a generation that outlives the drain must not hold the process.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from llama_inference.errors import EngineLostError

B = TypeVar("B")
R = TypeVar("R")


class EngineThread(Generic[B]):
    """One thread that owns a backend of type `B`."""

    def __init__(
        self,
        open_backend: Callable[[], B],
        *,
        on_ready: Callable[[B], None],
        on_death: Callable[[BaseException], None],
    ) -> None:
        """`open_backend` runs on the thread and may take hours; the callbacks run on the event loop."""
        self._open_backend = open_backend
        self._on_ready = on_ready
        self._on_death = on_death
        self._jobs: queue.SimpleQueue[Callable[[B], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: asyncio.Future[object] | None = None

    def start(self) -> None:
        """Start the thread; call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    async def call(self, job: Callable[[B], R]) -> R:
        """Run `job` on the thread and wait for it; one at a time.

        Raises: what the job raises; EngineLostError if the thread dies, which also reaches `on_death`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()

        def run(backend: B) -> None:
            try:
                result = job(backend)
            except EngineLostError as error:
                self._post(_settle, future, None, error)
                raise
            except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
                self._post(_settle, future, None, error)
            except BaseException as error:
                lost = EngineLostError(f"the engine thread was ended by {type(error).__name__}")
                self._post(_settle, future, None, lost)
                raise
            else:
                self._post(_settle, future, result, None)

        self._jobs.put(run)
        return await future

    def _main(self) -> None:
        try:
            backend = self._open_backend()
            self._post(self._on_ready, backend)
            while True:
                self._jobs.get()(backend)
        except BaseException as error:  # noqa: BLE001 - the end of a thread: whoever watches it is told
            self._post(self._on_death, error)

    def _post(self, call: Callable[..., object], *arguments: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)


def _settle(future: "asyncio.Future[object]", result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
