"""Turns at compiling what outputs are held to: one at a time, and whoever waits for one can give up."""

import asyncio
import time
from collections.abc import Callable

from fastapi import Request

from llama_inference.backends.base import Prepares
from llama_inference.errors import AbandonedError, DeadlineError
from llama_inference.routes.responses import HungUp
from llama_inference.values import Generation


class Preparing:
    """The turns of one server."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._begun: set[asyncio.Task[Generation]] = (
            set()
        )  # what has begun goes on to its end: a thread cannot be ended
        self.asking = 0  # requests that compile or wait for it

    async def prepare(
        self,
        request: Request,
        backend: Prepares,
        generation: Generation,
        *,
        check: Callable[[], None],
        deadline: float | None,
    ) -> Generation:
        """Wait for a turn and for its end; `check` is called in between, and may refuse.

        Raises:
            InvalidRequestError: it cannot be compiled.
            DeadlineError: `deadline`, in seconds of `time.monotonic`, passed first.
            AbandonedError: the caller hung up first.
        """
        gone = asyncio.get_running_loop().create_future()
        work = asyncio.create_task(self._in_turn(backend, generation, check))
        self.asking += 1
        try:
            async with HungUp(request.receive, lambda: None if gone.done() else gone.set_result(None)):
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                await asyncio.wait({work, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            self.asking -= 1
            if work not in self._begun:
                work.cancel()
        if gone.done():
            raise AbandonedError("the caller hung up")
        message = "the deadline passed while what the output is held to was compiled, or waited for: give more time"
        raise DeadlineError(f"{message} in X-Request-Timeout", param="X-Request-Timeout")

    async def _in_turn(self, backend: Prepares, generation: Generation, check: Callable[[], None]) -> Generation:
        async with self._turn:
            check()
            if (task := asyncio.current_task()) is not None:
                self._begun.add(task)
                task.add_done_callback(self._ended)
            return await asyncio.to_thread(backend.prepare, generation)

    def _ended(self, task: asyncio.Task[Generation]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # where nobody waits any more, nobody is told
