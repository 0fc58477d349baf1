"""A limit on events: each LlamaDeployment may have a burst of them, and then one a minute.

What flaps tells the same again and again; the status always has the present state, and an event object counts up.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

BURST: Final = 25
"""As much as Kubernetes' own recorder lets through for one object."""
SECONDS: Final = 60.0
"""After the burst, one event in so many seconds."""
_MOST: Final = 10_000


@dataclass(slots=True)
class StormLimit:
    """Tells whether another event about an object may be recorded; times are seconds of `clock`."""

    clock: Callable[[], float] = monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def allows(self, uid: str) -> bool:
        """Take one from what the object of this UID may have; False if nothing is left."""
        now = self.clock()
        left, since = self._left.get(uid, (float(BURST), now))
        left = min(BURST, left + (now - since) / SECONDS)
        allowed = left >= 1
        self._left[uid] = (left - 1 if allowed else left, now)
        if len(self._left) > _MOST:
            self._left = {key: row for key, row in self._left.items() if now - row[1] < BURST * SECONDS}
        return allowed
