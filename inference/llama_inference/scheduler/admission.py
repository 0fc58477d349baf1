"""Admission, pure: may one more wait, and when will there be room.

`scheduler.lane` asks; nothing here knows a clock, a thread or an event loop.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

SMOOTHING = 0.3  # the share of the newest request in the mean: a handful of requests decide
LONGEST_WAIT_S = 600


@dataclass(frozen=True, slots=True)
class DrainRate:
    """How fast the engine finishes requests, as a moving mean of the seconds one holds it."""

    seconds_each: float | None = None

    def observe(self, seconds: float) -> "DrainRate":
        """One more request held the engine for `seconds`."""
        if self.seconds_each is None:
            return replace(self, seconds_each=seconds)
        return replace(self, seconds_each=self.seconds_each + SMOOTHING * (seconds - self.seconds_each))

    def next_place_in(self, running_for: float) -> int:
        """Whole seconds until the queue has room, when the running request has held the engine for `running_for`.

        Before anything has finished, the running request is the only measure: half of it is taken to be done.
        """
        left = running_for if self.seconds_each is None else self.seconds_each - running_for
        return max(1, min(LONGEST_WAIT_S, math.ceil(left)))


def queued(widths: Iterable[int], rows: int) -> int:
    """How many of the requests in the engine's hands wait for others to end.

    Args: `widths` are their rows, in order of arrival; the engine has `rows`, and nobody overtakes.
    """
    taken = count = 0
    for width in widths:
        fits = not taken or taken + width <= rows
        taken += width
        count += not fits
    return count


def admits(widths: Iterable[int], *, width: int, rows: int, max_queue: int) -> bool:
    """Whether a request of `width` may come in: at once when the engine has room for it, else when the queue has."""
    return queued((*widths, width), rows) <= max_queue
