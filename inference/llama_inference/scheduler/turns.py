"""What the engine thread does with tickets: steps of the batch, and requests that must run alone in between.

The event loop puts tickets in; everything else happens on the engine thread, and results go back by `post`.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from llama_inference.backends.base import Backend
from llama_inference.backends.batching import BatchingBackend
from llama_inference.engine.native.plan import Report
from llama_inference.errors import AbandonedError, EngineLostError, InternalError, RequestError
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.scheduler.flight import Flight
from llama_inference.scheduler.lifecycle import engine_lost
from llama_inference.scheduler.ticket import Ticket
from llama_inference.values import Sequence

log = logging.getLogger(__name__)
FAILED = "the generation failed; the server's log has the reason under the request's id"


class Listener(Protocol):
    """Who is told; called on the engine thread."""

    def started(self, ticket: Ticket) -> None:
        """The engine has begun with a ticket."""
        ...

    def ended(self, ticket: Ticket, result: tuple[Sequence, ...] | Exception) -> None:
        """The engine is done with a ticket that had begun."""
        ...

    def found(self, tokens: int) -> None:
        """So many tokens of prompts were not computed again, since their keys and values were there."""
        ...


class Turns:
    """Tickets in the engine's hands."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._inbox: deque[Ticket] = deque()
        self._alone: deque[Ticket] = deque()
        self._flights: dict[Ticket, Flight] = {}
        self._owners: dict[int, Flight] = {}
        self._batch: Batch | None = None
        self._batch_turn_until = 0.0

    @property
    def pending(self) -> bool:
        """Whether tickets have been put in that the engine has not seen."""
        return bool(self._inbox)

    def put(self, ticket: Ticket) -> None:
        """Hand a ticket over; from any thread."""
        self._inbox.append(ticket)

    def run(self, backend: Backend) -> None:
        """Take turns until there is nothing left to do.

        Raises:
            EngineLostError: the engine is gone; all tickets in hand have been told.
        """
        while self._inbox or self._alone or self._flights:
            while self._inbox:
                self._sort(self._inbox.popleft(), backend)
            # A request that runs alone holds up the batch: the batch has had as long before the next one does.
            if self._alone and (not self._flights or time.monotonic() >= self._batch_turn_until):
                began = time.monotonic()
                self._run_alone(self._alone.popleft(), backend)
                self._batch_turn_until = 2 * time.monotonic() - began
            if self._batch is not None and self._flights:
                self._step(self._batch)

    def _sort(self, ticket: Ticket, backend: Backend) -> None:
        """Let a ticket's jobs join the batch, or line it up to run alone; what hinders that ends this ticket only."""
        if not isinstance(backend, BatchingBackend):
            self._alone.append(ticket)
            return
        if ticket.closed:
            return
        if self._batch is None:
            self._batch = Batch(backend.executor, backend.capacity)
        jobs: dict[int, int] = {}
        try:
            reason = self._submit(ticket, backend, self._batch, jobs)
        except BaseException as error:
            for number in jobs:
                self._batch.cancel(number)
            if not isinstance(error, RequestError):
                log.exception("a request could not be admitted")
            self._end(ticket, _told(error))
            if _is_the_end(error):
                self._fail_flights(_told(error))
                raise
            return
        if reason is not None:
            log.info("a request runs alone: %s", reason)
            self._alone.append(ticket)
            return
        flight = self._flights[ticket] = Flight(ticket, jobs)
        self._owners.update(dict.fromkeys(flight.jobs, flight))

    def _submit(self, ticket: Ticket, backend: BatchingBackend, batch: Batch, numbers: dict[int, int]) -> str | None:
        """Put a ticket's jobs into the batch, noting each; return why it must run alone instead."""
        reason = backend.covers(ticket.generation)
        if reason is not None:
            return reason
        jobs = backend.jobs(ticket.generation)
        if not all(batch.fits(job) for job in jobs):
            return "it may need more rows or entries than there are"
        for job in jobs:
            numbers[batch.submit(job)] = job.index
        return None

    def _run_alone(self, ticket: Ticket, backend: Backend) -> None:
        if ticket.closed:
            return
        ticket.alone = True
        self._start(ticket)
        try:
            self._end(ticket, tuple(backend.generate(ticket.generation, ticket)))
        except (AbandonedError, RequestError) as error:
            self._end(ticket, error)
        except BaseException as error:
            log.exception("a generation failed")
            self._end(ticket, _told(error))
            if _is_the_end(error):
                self._fail_flights(_told(error))
                raise

    def _step(self, batch: Batch) -> None:
        for flight in tuple(self._flights.values()):
            if flight.ticket.closed:
                self._land(flight, AbandonedError("nobody waits for this generation"))
        try:
            reports = batch.step()
        except BaseException as error:
            log.exception("a step failed")
            self._batch = None
            if not _is_the_end(error):
                batch.executor.reset()
            self._fail_flights(_told(error))
            if _is_the_end(error):
                raise
            return
        if batch.last_plan.found:
            self._listener.found(batch.last_plan.found)
        for number in batch.last_plan.places:
            self._start(self._owners[number].ticket)
        self._hand_out(reports)

    def _hand_out(self, reports: Iterable[Report]) -> None:
        of: dict[Flight, list[Report]] = {}
        for report in reports:
            of.setdefault(self._owners[report.job], []).append(report)
        for flight, own in of.items():
            try:
                result = flight.take(own)
            except (AbandonedError, RequestError) as error:
                self._land(flight, error)
            else:
                if result is not None:
                    self._land(flight, result)

    def _land(self, flight: Flight, result: tuple[Sequence, ...] | Exception) -> None:
        """Take a flight out of the batch, with what is left of its jobs."""
        del self._flights[flight.ticket]
        for number in [number for number, owner in self._owners.items() if owner is flight]:
            del self._owners[number]
            if self._batch is not None:
                self._batch.cancel(number)
        self._end(flight.ticket, result)

    def _fail_flights(self, error: RequestError) -> None:
        flights, self._flights, self._owners = self._flights, {}, {}
        for ticket in flights:
            self._end(ticket, error)

    def _start(self, ticket: Ticket) -> None:
        if ticket.started is None:
            ticket.started = time.monotonic()
            self._listener.started(ticket)

    def _end(self, ticket: Ticket, result: tuple[Sequence, ...] | Exception) -> None:
        self._listener.ended(ticket, result)


def _is_the_end(error: BaseException) -> bool:
    """Whether the engine thread cannot go on."""
    return isinstance(error, EngineLostError) or not isinstance(error, Exception)


def _told(error: BaseException) -> RequestError:
    """What a caller is told of an error; details stay in the log."""
    if isinstance(error, RequestError):
        return error
    return engine_lost() if _is_the_end(error) else InternalError(FAILED)
