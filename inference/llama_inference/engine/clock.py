"""When a request's time is over: one clock for all of its jobs, which may run at different times."""

import time


class Clock:
    """`max_time` of a request."""

    def __init__(self, seconds: float | None) -> None:
        """`seconds` from the start on; None for ever."""
        self._seconds = seconds
        self._until: float | None = None

    def start(self, now: float | None = None) -> None:
        """Start with the first job; those that come later find it running. `now` is `time.monotonic()` by default."""
        if self._seconds is not None and self._until is None:
            self._until = (time.monotonic() if now is None else now) + self._seconds

    def is_over(self, now: float | None = None) -> bool:
        """Whether the time is over; never before the start."""
        return self._until is not None and (time.monotonic() if now is None else now) >= self._until

    @property
    def expired(self) -> bool:
        """Whether the time is over at present."""
        return self.is_over()
