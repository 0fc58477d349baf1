"""The gate: requests go through, wait their turn, or are turned away, as `decide` says; nothing here does I/O."""

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from llama_operator.gateway import decide
from llama_operator.gateway.decide import Admission, Limits, Mind, State


class RefusedError(Exception):
    """A request is turned away with 503; `admission` tells why, HOLD that it has waited for as long as it may."""

    def __init__(self, admission: Admission, retry_after: int) -> None:
        super().__init__(f"{admission}, again in {retry_after} s")
        self.admission = admission
        self.retry_after = retry_after


@dataclass(slots=True, eq=False)
class _Turn:
    held: bool | None = None
    """None before it was admitted and after it has left."""
    of_backlog: bool = False
    released: "asyncio.Future[None] | None" = None


class Gate:
    """Keeps the gateway's mind; `news` is set with each request, so that the keeper does something about it."""

    def __init__(self, limits: Limits, *, at_once: int) -> None:
        """Of the requests that had to wait, `at_once` are let through at a time: a server's queue is bounded."""
        self.limits = limits
        self.mind = Mind()
        self._at_once = at_once
        self.news = asyncio.Event()
        self._queue: deque[_Turn] = deque()
        self._through = 0

    @property
    def state(self) -> State:
        """The state, for people and metrics."""
        return decide.state(self.mind, _now(), self.limits)

    def learn(self, mind: Mind) -> None:
        """Take a new mind, and let through whoever may go now."""
        self.mind = mind
        while self._queue and self._through < self._at_once and decide.is_open(self.mind, _now(), self.limits):
            turn = self._queue.popleft()
            turn.held, turn.of_backlog = False, True
            self._through += 1
            self.mind = decide.released(self.mind, _now())
            if turn.released is not None:
                turn.released.set_result(None)

    @contextmanager
    def request(self) -> "Generator[Passage]":
        """A request, from its arrival to its end, however it ends."""
        turn = _Turn()
        try:
            yield Passage(self, turn, _now() + self.limits.hold_seconds)
        finally:
            self._leave(turn)

    def admit(self, turn: _Turn) -> None:
        """Let a request that has just arrived through, or hold it.

        Raises:
            RefusedError: if it may not wait.
        """
        now = _now()
        admission = decide.admit(self.mind, now, self.limits, queued=len(self._queue))
        if admission in (Admission.FULL, Admission.STOPPED):
            self.mind = decide.turned_away(self.mind, now)
            self.news.set()
            raise self.refusal(admission)
        turn.held = admission is Admission.HOLD
        self.mind = decide.arrived(self.mind, now, held=turn.held)
        if turn.held:
            self._queue.append(turn)
        self.news.set()

    def back(self, turn: _Turn) -> None:
        """Hold a request again, first in the queue: no pod took its connection."""
        if turn.of_backlog:
            self._through -= 1
        turn.held, turn.of_backlog = True, False
        self.mind = decide.held_again(self.mind, _now())
        self._queue.appendleft(turn)
        self.news.set()

    def refusal(self, admission: Admission) -> RefusedError:
        """Return the error of a request that is turned away now."""
        return RefusedError(admission, decide.retry_after(self.mind, _now()))

    def _leave(self, turn: _Turn) -> None:
        if turn.held is None:
            return
        if turn.held:
            self._queue.remove(turn)
        elif turn.of_backlog:
            self._through -= 1
        self.learn(decide.left(self.mind, _now(), held=turn.held))
        turn.held = None


class Passage:
    """One request's way through the gate."""

    def __init__(self, gate: Gate, turn: _Turn, deadline: float) -> None:
        self._gate = gate
        self._turn = turn
        self._deadline = deadline
        self.arrived_at = _now()

    @property
    def waited(self) -> float:
        """Seconds since it arrived."""
        return _now() - self.arrived_at

    async def through(self) -> None:
        """Return once the request may go to the pods.

        Raises:
            RefusedError: if it may not wait, or has waited for as long as it may.
        """
        if self._turn.held is None:
            self._gate.admit(self._turn)
        if not self._turn.held:
            return
        released = self._turn.released = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(self._deadline):
                await released
        except TimeoutError:
            # Released in the same moment, it goes: it is accounted for as one that does.
            if self._turn.held:
                raise self._gate.refusal(Admission.HOLD) from None
        finally:
            self._turn.released = None

    def refused(self) -> None:
        """No pod took the connection, and not a byte was sent: wait for one again."""
        self._gate.back(self._turn)


def _now() -> float:
    return asyncio.get_running_loop().time()
