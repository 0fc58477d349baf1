"""The lane: requests in order of arrival into one engine, at most `max_queue` waiting for it.

Decisions are `admission`'s, waiting is `ticket`'s, computing is `turns`' on `worker`'s thread; this joins them.
"""

import asyncio
import time
from collections.abc import Callable

from llama_inference.backends.base import Backend
from llama_inference.backends.batching import BatchingBackend
from llama_inference.errors import QueueFullError, RequestError, UnavailableError
from llama_inference.metrics import Metrics
from llama_inference.scheduler.admission import DrainRate, admits
from llama_inference.scheduler.lifecycle import RESTART_S
from llama_inference.scheduler.ticket import Ticket
from llama_inference.scheduler.turns import Turns
from llama_inference.scheduler.worker import EngineThread
from llama_inference.values import BackendName, FinishReason, Generation, Outcome, Sequence


class Lane:
    """A bounded first-in-first-out queue in front of one engine."""

    def __init__(self, engine: EngineThread[Backend], *, max_queue: int, metrics: Metrics) -> None:
        self._engine = engine
        self._max_queue = max_queue
        self._metrics = metrics
        self._rows = 1
        self.restart_s = RESTART_S  # what those hear whose request a lost engine ends
        self._backend: BackendName = "native"
        self._waiting: dict[Ticket, None] = {}  # in order
        self._running: dict[Ticket, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = Turns(self)
        self._rate = DrainRate()
        self._last_end = 0.0
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def opened(self, backend: Backend) -> None:
        """Take note of what the engine is, and of how much it computes at once."""
        self._backend = backend.info.backend
        self._metrics.begin(self._backend, [reason.value for reason in FinishReason])
        if isinstance(backend, BatchingBackend):
            self._rows = backend.capacity.rows

    def submit(
        self, generation: Generation, *, arrived: float, deadline: float | None = None, caller: str | None = None
    ) -> Ticket:
        """Queue a generation.

        Args: times are `time.monotonic` seconds; `caller` is the name of an API key.

        Raises:
            QueueFullError: with the seconds after which there is likely to be room.
        """
        self.check(generation)
        ticket = Ticket(
            generation, arrived=arrived, deadline=deadline, on_closed=self._closed, on_gap=self._gap, caller=caller
        )
        self._waiting[ticket] = None
        self._idle.clear()
        self._turns.put(ticket)
        self._work.set()
        self._gauges()
        return ticket

    def check(self, generation: Generation) -> None:
        """Refuse a generation that there is no room for now, before anything is done for it. Raises as `submit`."""
        widths = [ticket.generation.rows for ticket in (*self._running, *self._waiting)]
        if not admits(widths, width=generation.rows, rows=self._rows, max_queue=self._max_queue):
            raise self._full(len(self._waiting))

    def check_beside(self, asking: int) -> None:
        """Refuse one more where that many are being made ready to queue: one, and as many behind it as may queue.

        Raises as `submit`.
        """
        if asking > self._max_queue:
            raise self._full(asking - 1)

    def _full(self, waiting: int) -> QueueFullError:
        begun = [ticket.started for ticket in self._running if ticket.started is not None]
        since = max(self._last_end, min(begun)) if begun else time.monotonic()
        seconds = self._rate.next_place_in(time.monotonic() - since)
        message = f"{waiting} requests wait already: try again in {seconds} s, or on another replica"
        return QueueFullError(message, retry_after=seconds)

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return bool(self._running or self._waiting)

    async def drained(self) -> None:
        """Wait until nothing runs and nothing waits."""
        await self._idle.wait()

    def fail_all(self, error: Exception) -> None:
        """End every request that runs or waits with `error`."""
        for ticket in (*self._waiting, *self._running):
            ticket.fail(error)

    async def run(self) -> None:
        """Feed the engine for ever.

        Raises:
            EngineLostError: the engine is gone; whoever supervises this task ends the process.
        """
        self._loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            self._work.clear()
            while self._turns.pending:
                await self._engine.call(self._turns.run)

    def started(self, ticket: Ticket) -> None:
        """Called on the engine thread; see `turns.Listener`."""
        self._post(self._started, ticket)

    def ended(self, ticket: Ticket, result: tuple[Sequence, ...] | Exception) -> None:
        """Called on the engine thread; see `turns.Listener`."""
        self._post(self._ended, ticket, result)

    def found(self, tokens: int) -> None:
        """Called on the engine thread; see `turns.Listener`."""
        self._metrics.prefix_hits.inc(tokens)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _started(self, ticket: Ticket) -> None:
        self._waiting.pop(ticket, None)
        self._running[ticket] = None
        self._gauges()

    def _ended(self, ticket: Ticket, result: tuple[Sequence, ...] | Exception) -> None:
        if isinstance(result, UnavailableError) and result.code == "engine_lost":
            result.retry_after = self.restart_s
        if isinstance(result, Exception):
            ticket.fail(result)
        elif (outcome := ticket.finish(result)) is not None:
            self._count(ticket, outcome)
        if ticket in self._running:
            now = time.monotonic()
            del self._running[ticket]
            self._rate = self._rate.observe(now - max(self._last_end, ticket.started or now))
            self._last_end = now
        self._gauges()

    def _closed(self, ticket: Ticket, last: Outcome | Exception) -> None:
        self._waiting.pop(ticket, None)
        if isinstance(last, Exception):
            self._metrics.abandoned.labels(_reason(last)).inc()
        self._gauges()

    def _gauges(self) -> None:
        self._metrics.running.set(len(self._running))
        self._metrics.waiting.set(len(self._waiting))
        self._metrics.busy.note(busy=bool(self._running))
        if not self.busy:
            self._idle.set()

    def _gap(self, ticket: Ticket, seconds: float) -> None:
        """Called on the engine thread; the client's metrics may be."""
        self._metrics.inter_token.labels(self._computed_by(ticket)).observe(seconds)

    def _computed_by(self, ticket: Ticket) -> BackendName:
        """What the native engine does not cover is transformers' work."""
        return "transformers" if ticket.alone and self._backend == "native" else self._backend

    def _count(self, ticket: Ticket, outcome: Outcome) -> None:
        metrics, backend = self._metrics, self._computed_by(ticket)
        prompt_tokens = sum(len(prompt) for prompt in ticket.generation.prompts)
        output_tokens = sum(len(sequence.token_ids) for sequence in outcome.sequences)
        metrics.prompt_tokens.labels(backend).inc(prompt_tokens)
        metrics.generation_tokens.labels(backend).inc(output_tokens)
        if ticket.caller is not None:
            metrics.key_tokens.labels(ticket.caller, "prompt").inc(prompt_tokens)
            metrics.key_tokens.labels(ticket.caller, "generation").inc(output_tokens)
        for sequence in outcome.sequences:
            metrics.finished.labels(sequence.finish_reason.value, backend).inc()
        for histogram, seconds in (
            (metrics.queue_time, outcome.queued_s),
            (metrics.first_token, outcome.first_token_s),
            (metrics.prefill_time, outcome.first_token_s - outcome.queued_s),
            (metrics.decode_time, outcome.total_s - outcome.first_token_s),
            (metrics.latency, outcome.total_s),
        ):
            histogram.labels(backend).observe(seconds)


def _reason(error: Exception) -> str:
    """A label for why a request has no result: hung_up, or the code that its caller reads."""
    return error.code if isinstance(error, RequestError) else "hung_up"
