"""When each key is due: the decisions of the queue, without a clock or a task of its own.

A key is idle, due at a time, or in flight. Waking brings its time forward and never puts it off; a key that is
woken in flight runs once more. Of the keys that are due, the one that has been so for longest is first.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K")

_GATHER_SECONDS: Final = 0.2
"""The least time between two runs of a key that is busy, so that a burst of events becomes one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait after failures: doubling from `least` to `most` seconds."""

    least: float
    most: float

    def seconds(self, failures: int, jitter: float) -> float:
        """Return the wait after so many `failures` in a row; a `jitter` from 0 to 1 takes off up to a half."""
        return min(self.most, self.least * 2.0 ** min(failures - 1, 60)) * (1 - jitter / 2)


@dataclass(slots=True)
class _Entry:
    due: float | None = None
    in_flight: bool = False
    woken_for: float | None = None
    not_before: float = float("-inf")
    failures: int = 0


class Schedule(Generic[K]):
    """Every key that is not idle. All times are seconds on the caller's clock."""

    def __init__(self, backoff: Backoff, jitter: Callable[[], float] = random.random) -> None:
        self._backoff = backoff
        self._jitter = jitter
        self._entries: dict[K, _Entry] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def wake(self, key: K, at: float) -> None:
        """Run `key` at this time or earlier."""
        entry = self._entries.setdefault(key, _Entry())
        if entry.in_flight:
            entry.woken_for = _earlier(entry.woken_for, at)
        else:
            self._put(key, entry, max(at, entry.not_before))

    def next_due(self) -> float | None:
        """Return when the next key is due; None if no key waits."""
        while self._heap and self._is_stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> K | None:
        """Return a key that is due, which is then in flight until `done` or `failed`."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        entry = self._entries[key]
        entry.due, entry.in_flight = None, True
        return key

    def done(self, key: K, now: float, again_after: float | None = None) -> None:
        """End a run that succeeded; run again after so many seconds, if any."""
        self._entries[key].failures = 0
        self._land(key, now, again_after, rest=_GATHER_SECONDS)

    def failed(self, key: K, now: float) -> float:
        """End a run that failed; return the seconds until it is tried again, if nothing wakes it earlier."""
        entry = self._entries[key]
        entry.failures += 1
        wait = self._backoff.seconds(entry.failures, self._jitter())
        # A failing key may cause events by failing; they must not drive it in circles.
        self._land(key, now, wait, rest=min(wait, self._backoff.least))
        return wait

    def _land(self, key: K, now: float, again_after: float | None, *, rest: float) -> None:
        entry = self._entries[key]
        woken_for, entry.woken_for = entry.woken_for, None
        entry.in_flight, entry.not_before = False, now + rest
        if again_after is not None:
            self._put(key, entry, now + again_after)
        if woken_for is not None:
            self._put(key, entry, max(woken_for, entry.not_before))
        if entry.due is None:
            del self._entries[key]

    def _put(self, key: K, entry: _Entry, at: float) -> None:
        if entry.due is None or at < entry.due:
            entry.due = at
            heapq.heappush(self._heap, (at, next(self._order), key))

    def _is_stale(self, row: tuple[float, int, K]) -> bool:
        entry = self._entries.get(row[2])
        return entry is None or entry.due != row[0]


def _earlier(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)
