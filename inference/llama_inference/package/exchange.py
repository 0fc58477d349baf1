"""Requests under way to a package: how many there may be, and how each is ended before its time.

The truss server queues without bound what comes above `predict_concurrency`; here is the bound. Requests are handed
over at once all the same, since `preprocess` of those that wait runs beside `predict` of those that do not.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from llama_inference.errors import AbandonedError, DeadlineError, QueueFullError, RequestError
from llama_inference.metrics import Metrics
from llama_inference.scheduler.admission import DrainRate
from llama_inference.tracing.spans import current

T = TypeVar("T")
BACKEND = "package"


class Exchanges:
    """All requests under way; belongs to the event loop."""

    def __init__(self, *, concurrency: int, max_queue: int, metrics: Metrics) -> None:
        self.concurrency = concurrency
        self._max_queue = max_queue
        self._metrics = metrics
        self._under_way: dict[Exchange, None] = {}  # in order of arrival
        self._rate = DrainRate()
        self._last_end = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    def take(self, *, arrived: float, deadline: float | None = None) -> "Exchange":
        """Take one more request in; whoever does calls its `finish`. Times are `time.monotonic` seconds.

        Raises:
            QueueFullError: as many as may wait do; with the seconds after which there is likely to be room.
        """
        if len(self._under_way) >= self.concurrency + self._max_queue:
            raise self._full()
        exchange = Exchange(self, arrived=arrived, deadline=deadline)
        self._under_way[exchange] = None
        self._idle.clear()
        self._gauges()
        return exchange

    def _full(self) -> QueueFullError:
        now = time.monotonic()
        oldest = next(iter(self._under_way)).arrived if self._under_way else now
        seconds = self._rate.next_place_in(now - max(self._last_end, oldest))
        waiting = max(0, len(self._under_way) - self.concurrency)
        message = f"{waiting} requests wait already: try again in {seconds} s, or on another replica"
        return QueueFullError(message, retry_after=seconds)

    @property
    def busy(self) -> bool:
        """Whether any request is under way."""
        return bool(self._under_way)

    async def drained(self) -> None:
        """Wait until none is under way."""
        await self._idle.wait()

    def fail_all(self, error: Exception) -> None:
        """End every request that is under way with `error`."""
        for exchange in tuple(self._under_way):
            exchange.end(error)

    def ended(self, exchange: "Exchange") -> None:
        """A request has been answered, or given up; called by the exchange."""
        now = time.monotonic()
        del self._under_way[exchange]
        self._rate = self._rate.observe(now - max(self._last_end, exchange.arrived))
        self._last_end = now
        if exchange.error is None:
            self._metrics.latency.labels(BACKEND).observe(now - exchange.arrived)
        else:
            self._metrics.abandoned.labels(_reason(exchange.error)).inc()
        if exchange.first_piece is not None:
            self._metrics.first_token.labels(BACKEND).observe(exchange.first_piece - exchange.arrived)
        self._gauges()

    def _gauges(self) -> None:
        count = len(self._under_way)
        self._metrics.running.set(min(count, self.concurrency))
        self._metrics.waiting.set(max(0, count - self.concurrency))
        self._metrics.busy.note(busy=count > 0)
        if not count:
            self._idle.set()


class Exchange:
    """One request under way, from `Exchanges.take` to `finish`."""

    def __init__(self, exchanges: Exchanges, *, arrived: float, deadline: float | None) -> None:
        self.arrived = arrived
        self.error: Exception | None = None  # why it was ended before its time
        self.first_piece: float | None = None  # when a stream began
        self._exchanges = exchanges
        self._finished = False
        self._work: asyncio.Task[Any] | None = None
        self._span = current.get()
        # The loop's clock is time.monotonic.
        self._timer = None if deadline is None else asyncio.get_running_loop().call_at(deadline, self._expire)

    def finish(self, error: BaseException | None = None) -> None:
        """It is over: its place is free. `error` is why there was no whole answer."""
        if self._finished:
            return
        self._finished = True
        if self._timer is not None:
            self._timer.cancel()
        if self.error is None and error is not None:
            self.error = error if isinstance(error, Exception) else AbandonedError("the server ended")
        if self._span is not None:
            self._span.stage(BACKEND, self.arrived, time.monotonic(), {})
        self._exchanges.ended(self)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a part of it.

        Raises:
            Exception: what `end` was called with meanwhile, or before.
        """
        if self.error is not None:
            work.close()
            raise self.error
        self._work = asyncio.create_task(work)
        try:
            return await self._work
        except asyncio.CancelledError:
            if self.error is not None:
                raise self.error from None
            raise

    def end(self, error: Exception) -> None:
        """End it now, whatever it is at; the first reason counts."""
        if self.error is None:
            self.error = error
            if self._work is not None:
                self._work.cancel()

    def hang_up(self) -> None:
        """The caller has gone."""
        self.end(AbandonedError("the caller hung up"))

    def _expire(self) -> None:
        message = f"the deadline of {time.monotonic() - self.arrived:.1f} s passed: give more time in X-Request-Timeout"
        self.end(DeadlineError(message, param="X-Request-Timeout"))


def _reason(error: Exception) -> str:
    return error.code if isinstance(error, RequestError) else "hung_up"
