"""Our queue: workers that run one key at a time each, as `schedule` decides.

kopf's handlers only wake keys here, for what fails in them is logged and never retried.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from llama_operator.errors import ClusterError
from llama_operator.handlers.failures import reason_of
from llama_operator.handlers.logs import about
from llama_operator.handlers.metrics import Metrics, Result
from llama_operator.handlers.schedule import Backoff, Schedule
from llama_operator.plan.observed import Key

log = logging.getLogger(__name__)

Work = Callable[[Key], Awaitable[float | None]]
"""Brings one LlamaDeployment forward; returns in how many seconds to look again, if events alone do not tell."""

_CONFLICT: Final = 409


class Queue:
    """Keys to work on, deduplicated: a key is in flight at most once, and a failing one delays no other."""

    def __init__(
        self, work: Work, *, backoff: Backoff, workers: int, deadline_seconds: float, metrics: Metrics
    ) -> None:
        self._work = work
        self._metrics = metrics
        self._schedule: Schedule[Key] = Schedule(backoff)
        self._workers = workers
        self._deadline_seconds = deadline_seconds
        self._bell = asyncio.Event()
        self._stopping = False

    def wake(self, key: Key, after: float = 0.0) -> None:
        """Work on `key` after so many seconds, or earlier."""
        self._schedule.wake(key, self._now() + after)
        self._bell.set()

    def __len__(self) -> int:
        return len(self._schedule)

    async def run(self) -> None:
        """Work until `stop`, and finish what is in flight then."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._worker(), name=f"worker-{number}")

    def stop(self) -> None:
        """Take no further key."""
        self._stopping = True
        self._bell.set()

    async def _worker(self) -> None:
        while (key := await self._next()) is not None:
            await self._run(key)

    async def _run(self, key: Key) -> None:
        about.set(str(key))
        start = self._now()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                again_after = await self._work(key)
        except Exception as error:  # noqa: BLE001  (whatever one key does, the others are served)
            now = self._now()
            result = _log(error, self._schedule.failed(key, now))
            self._metrics.failed(reason_of(error))
        else:
            now, result = self._now(), "ok"
            self._schedule.done(key, now, again_after)
        self._metrics.reconciled(result, now - start)

    async def _next(self) -> Key | None:
        while not self._stopping:
            self._bell.clear()
            key = self._schedule.take(self._now())
            if key is not None:
                return key
            try:
                async with asyncio.timeout_at(self._schedule.next_due()):
                    await self._bell.wait()
            except TimeoutError:
                continue
        return None

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _log(error: Exception, wait: float) -> Result:
    if isinstance(error, ClusterError) and error.status == _CONFLICT:
        log.debug("changed while it was worked on, again in %.1f s", wait)
        return "conflict"
    if isinstance(error, ClusterError | TimeoutError):
        log.warning("failed, again in %.1f s: %s", wait, str(error) or "it took too long")
    else:
        log.error("failed unexpectedly, again in %.1f s", wait, exc_info=error)
    return "failed"
