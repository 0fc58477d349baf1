"""What a gateway does next: pure decisions over what it knows. No clock, no connection, no task.

Four states, of which the last two forward:

    asleep ──a request──► waking ──the operator has agreed and a pod answers──► awake ──quiet──► idle
       ▲                                                                          ▲               │ a request
       └──────────── quiet for idleSeconds, written on the Lease ─────────────────│───────────────┤
                                                                                  └───renewed─────┘

`awake` is a right that lapses: a gateway forwards for half of idleSeconds after it has written on the Lease that the
model is wanted, and renews that while requests come. Another gateway writes the opposite only after it has seen the
Lease unchanged for all of idleSeconds, so it cannot do so while this one forwards. All times are seconds on the
gateway's own clock: the clocks of machines need not agree.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from llama_operator.plan.activity import Activity, Pods

TRUST: Final = 1 / 2
RENEW: Final = 1 / 4
LOOK: Final = 1 / 4
"""Shares of idleSeconds: how long a renewal lets requests through, how often it is renewed, how often one looks."""

SOON: Final = 0.25
"""Seconds between two looks, or two knocks at the pods, while somebody waits."""
AGAIN: Final = 1.0
"""Seconds after a failure of the API server."""
WATCH: Final = 5.0
"""Seconds between two knocks at pods that start while nobody waits."""
UNKNOWN_START: Final = 60.0
LEAST_WAIT: Final = 5.0
"""Seconds that a caller is told to wait: where no start was measured, and where one takes longer than the last."""


class State(StrEnum):
    """What a gateway is about."""

    ASLEEP = "asleep"
    WAKING = "waking"
    AWAKE = "awake"
    IDLE = "idle"


class Admission(StrEnum):
    """What becomes of a request that arrives."""

    FORWARD = "forward"
    HOLD = "hold"
    FULL = "full"
    STOPPED = "stopped"


class Step(StrEnum):
    """What a gateway does next by itself."""

    RENEW = "renew"
    """Write on the Lease that the model is wanted."""
    SLEEP = "sleep"
    """Write that it is not."""
    READ = "read"
    KNOCK = "knock"
    """See whether a pod answers."""
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds, in seconds and requests."""

    idle_seconds: float
    hold_seconds: float
    max_held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mind:
    """What a gateway knows.

    `changed_at` is when it saw the Lease change, `renewed_at` when it last wrote that the model is wanted and the
    operator's word on the same Lease was awake; `said_at` when it last wrote anything; `read_at` and `knocked_at` when
    it last looked. `blind`: the API server gave no answer when it was last asked. `answering_since`: since when pods
    take connections. `active_at`: when a request last was there. `waking_since`: since when it waits for pods.
    """

    known: Activity | None = None
    changed_at: float = -math.inf
    read_at: float = -math.inf
    renewed_at: float = -math.inf
    said_at: float = -math.inf
    knocked_at: float = -math.inf
    failed_at: float = -math.inf
    blind: bool = False
    answering_since: float | None = None
    active_at: float = -math.inf
    waking_since: float | None = None
    held: int = 0
    in_flight: int = 0

    @property
    def busy(self) -> bool:
        """Whether a request is there."""
        return self.held > 0 or self.in_flight > 0

    @property
    def granted(self) -> bool:
        """Whether the pods run, for all that is known; an API server that is away takes no model away."""
        return self.known.pods is Pods.AWAKE if self.known is not None else self.blind


def is_open(mind: Mind, now: float, limits: Limits) -> bool:
    """Whether requests may go to the pods.

    While the API server is away they may: nobody can stop pods then, but who still reaches it; and their pods finish
    what they have begun.
    """
    wanted = mind.known is None or mind.known.wanted
    trusted = (mind.blind and wanted) or now - mind.renewed_at < limits.idle_seconds * TRUST
    return mind.granted and trusted and mind.answering_since is not None


def state(mind: Mind, now: float, limits: Limits) -> State:
    """Return the state, for people and metrics."""
    if is_open(mind, now, limits):
        return State.AWAKE
    if mind.granted and mind.answering_since is not None and not mind.held:
        return State.IDLE
    return State.WAKING if mind.held or mind.granted else State.ASLEEP


def admit(mind: Mind, now: float, limits: Limits, *, queued: int) -> Admission:
    """Return what becomes of a request that arrives behind `queued` that were held and still wait."""
    if mind.known is not None and mind.known.pods is Pods.STOPPED:
        return Admission.STOPPED
    if not queued and is_open(mind, now, limits):
        return Admission.FORWARD
    return Admission.HOLD if mind.held < limits.max_held and limits.hold_seconds > 0 else Admission.FULL


def next_step(mind: Mind, now: float, limits: Limits) -> tuple[Step, float]:
    """Return what to do, and the time at which to do it; `WAIT` ends at that time, or when something happens."""
    if mind.blind:
        return (Step.READ, now) if now >= mind.failed_at + AGAIN else _meanwhile(mind, now, mind.failed_at + AGAIN)
    if mind.known is None:
        return Step.READ, now
    if mind.known.pods is Pods.STOPPED:
        return _look(mind, now, WATCH)
    if mind.busy or mind.active_at > mind.said_at:
        return _wanted(mind, mind.known, now, limits)
    return _unwanted(mind, mind.known, now, limits)


def _wanted(mind: Mind, known: Activity, now: float, limits: Limits) -> tuple[Step, float]:
    """Requests are there, or were since the last word of this gateway's."""
    due = mind.renewed_at + limits.idle_seconds * RENEW
    if not known.wanted or (mind.granted and now >= due):
        return Step.RENEW, now
    if not mind.granted:
        return _look(mind, now, SOON if mind.held else WATCH)
    return _meanwhile(mind, now, due)


def _unwanted(mind: Mind, known: Activity, now: float, limits: Limits) -> tuple[Step, float]:
    """Nobody has asked since then."""
    step, look = _look(mind, now, limits.idle_seconds * LOOK)
    if step is Step.READ:
        return step, look
    if mind.granted and known.wanted and mind.answering_since is not None:
        # Never a model that has yet to start: a long download would be broken off, again and again.
        quiet = max(mind.changed_at, mind.active_at, mind.answering_since) + limits.idle_seconds
        return (Step.SLEEP, now) if now >= quiet else (Step.WAIT, min(look, quiet))
    return _meanwhile(mind, now, look)


def _look(mind: Mind, now: float, every: float) -> tuple[Step, float]:
    at = mind.read_at + every
    return (Step.READ, now) if now >= at else (Step.WAIT, at)


def _meanwhile(mind: Mind, now: float, until: float) -> tuple[Step, float]:
    """Wait, and knock at pods that are to start."""
    if not mind.granted or mind.answering_since is not None:
        return Step.WAIT, until
    at = mind.knocked_at + (SOON if mind.held else WATCH)
    return (Step.KNOCK, now) if now >= at else (Step.WAIT, min(at, until))


def retry_after(mind: Mind, now: float) -> int:
    """Return the seconds after which to call again: what is left of a start that takes as long as the last one."""
    measured = mind.known.startup_seconds if mind.known is not None else None
    waited = 0.0 if mind.waking_since is None else now - mind.waking_since
    return math.ceil(max(LEAST_WAIT, (UNKNOWN_START if measured is None else measured) - waited))


# What happens to a gateway, as the mind that it leaves.


def saw(mind: Mind, found: Activity, now: float, *, age: float = 0.0) -> Mind:
    """The Lease was read; `age` is how long ago it was last renewed, for a gateway that has just started.

    Of that it may take no more than half of idleSeconds for granted, lest a clock that is wrong stop a model that
    answers elsewhere; the caller sees to it.
    """
    changed_at = mind.changed_at
    if mind.known is None:
        changed_at = now - age
    elif mind.known.version != found.version:
        changed_at = now
    mind = replace(mind, known=found, read_at=now, blind=False, changed_at=changed_at)
    # Pods that are to stop are not worth a knock, and whoever still answers is on its way out.
    return mind if mind.granted else replace(mind, renewed_at=-math.inf, answering_since=None)


def renewed(mind: Mind, found: Activity, asked_at: float, now: float) -> Mind:
    """The Lease was written, by this gateway; what it says holds from the time at which it was asked for."""
    # A word of one's own is no sign of life of others.
    mind = replace(saw(mind, found, now), changed_at=mind.changed_at, said_at=asked_at)
    if not found.wanted:
        return replace(mind, renewed_at=-math.inf, waking_since=None)
    return replace(mind, renewed_at=asked_at) if mind.granted else mind


def failed(mind: Mind, now: float) -> Mind:
    """The API server gave no answer."""
    return replace(mind, blind=True, failed_at=now)


def knocked(mind: Mind, now: float, *, answered: bool) -> Mind:
    """A connection to the pods was made, or was refused."""
    if not answered:
        return replace(mind, knocked_at=now, answering_since=None)
    since = mind.answering_since
    if since is None:
        # Who answers the first knock has been there for nobody knows how long.
        since = now if mind.knocked_at > -math.inf else -math.inf
    return replace(mind, knocked_at=now, answering_since=since, waking_since=None)


def arrived(mind: Mind, now: float, *, held: bool) -> Mind:
    """A request came, and is held or goes on to the pods."""
    if not held:
        return replace(mind, active_at=now, in_flight=mind.in_flight + 1, waking_since=None)
    waking_since = now if mind.waking_since is None else mind.waking_since
    return replace(mind, active_at=now, held=mind.held + 1, waking_since=waking_since)


def turned_away(mind: Mind, now: float) -> Mind:
    """A request came that is not held; it wakes the model all the same."""
    return replace(mind, active_at=now, waking_since=now if mind.waking_since is None else mind.waking_since)


def released(mind: Mind, now: float) -> Mind:
    """A request that was held goes on to the pods."""
    return replace(mind, active_at=now, held=mind.held - 1, in_flight=mind.in_flight + 1, waking_since=None)


def held_again(mind: Mind, now: float) -> Mind:
    """A request found no pod that takes its connection, and is held."""
    mind = replace(mind, in_flight=mind.in_flight - 1)
    return knocked(arrived(mind, now, held=True), now, answered=False)


def left(mind: Mind, now: float, *, held: bool) -> Mind:
    """A request has ended, or is held no longer."""
    if held:
        return replace(mind, active_at=now, held=mind.held - 1)
    return replace(mind, active_at=now, in_flight=mind.in_flight - 1)
