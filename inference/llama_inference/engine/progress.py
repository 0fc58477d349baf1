"""The start-up report: which stage runs, since when, how many bytes, and what is wrong.

Written by the engine thread, read by the event loop; times come from an injected clock.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from llama_inference.errors import LoadReason
from llama_inference.values import Json

RATE_WINDOW_S = 10.0  # the rate shown is that of the last seconds, so that a stall is seen as one


class Stage(StrEnum):
    """The stages of a start-up, in order."""

    RESOLVE = "Resolve"
    DOWNLOAD = "Download"
    LOAD = "Load"
    WARM_UP = "WarmUp"
    GOLDEN = "Golden"


@dataclass(slots=True)
class _StageState:
    state: str = "pending"
    began: float | None = None
    seconds: float | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    last_byte: float | None = None

    def rate(self, now: float) -> float:
        """Bytes a second over the window that ends now."""
        while len(self.samples) > 1 and now - self.samples[1][0] > RATE_WINDOW_S:
            self.samples.popleft()
        if not self.samples:
            return 0.0
        since, done = self.samples[0]
        return max(0.0, (self.bytes_done - done) / max(now - since, 0.1))


class Progress:
    """What the start-up is doing; every method may be called from any thread."""

    def __init__(self, model: str, revision: str, *, clock: Callable[[], float] = time.time) -> None:
        self.model = model
        self.revision = revision
        self.commit: str | None = None
        self.ready = False
        self._clock = clock
        self._lock = threading.Lock()
        self._stages = {stage: _StageState() for stage in Stage}
        self._error: dict[str, Json] | None = None

    def begin(self, stage: Stage) -> None:
        """A stage starts, or starts again; its time counts from the first start, and later stages are to come."""
        with self._lock:
            for later in list(Stage)[list(Stage).index(stage) + 1 :]:
                self._stages[later].state = "pending"
            if self._stages[Stage.LOAD].state == "pending" or stage is Stage.LOAD:
                self._stages[Stage.LOAD].bytes_total = None  # what was in memory is no longer
            state = self._stages[stage]
            state.state, state.seconds = "running", None
            state.began = self._clock() if state.began is None else state.began

    def finish(self, stage: Stage) -> float:
        """A stage is done; return how many seconds it took, failures counted in."""
        with self._lock:
            state = self._stages[stage]
            now = self._clock()
            state.state, state.seconds = "done", now - (now if state.began is None else state.began)
            state.began = now if state.began is None else state.began
            self._error = None
            return state.seconds

    def expect(self, total: int, done: int, stage: Stage = Stage.DOWNLOAD) -> None:
        """Announce that a stage is to move `total` bytes, of which `done` are here already."""
        with self._lock:
            state = self._stages[stage]
            state.bytes_total, state.bytes_done = total, done
            state.samples.clear()
            state.samples.append((self._clock(), done))
            if state.last_byte is None:  # silence counts on over the tries of a download
                state.last_byte = self._clock()

    def received(self, count: int, stage: Stage = Stage.DOWNLOAD) -> None:
        """`count` more bytes have arrived; negative when bytes had to be thrown away."""
        with self._lock:
            state = self._stages[stage]
            state.bytes_done += count
            now = self._clock()
            if count > 0:
                state.last_byte = now
            if not state.samples or now - state.samples[-1][0] >= 0.25:
                state.samples.append((now, state.bytes_done))

    @property
    def bytes_done(self) -> int:
        """Bytes of the model that are in the cache."""
        with self._lock:
            return self._stages[Stage.DOWNLOAD].bytes_done

    def failed(self, stage: Stage, reason: LoadReason, message: str, *, attempt: int, retry_in: float | None) -> None:
        """A stage failed for the `attempt`-th time and is tried again in `retry_in` seconds; None: never."""
        with self._lock:
            self._stages[stage].state = "failed"
            self._error = {
                "reason": reason.value,
                "message": message,
                "attempt": attempt,
                "retry_at": None if retry_in is None else self._clock() + retry_in,
            }

    def retrying(self) -> None:
        """The wait is over; the error stays until the stage is done, so that a status does not flicker."""
        with self._lock:
            if self._error is not None:
                self._error["retry_at"] = self._clock()

    def report(self) -> dict[str, Json]:
        """Return the start-up report as `docs/architecture.md` shows it."""
        with self._lock:
            now = self._clock()
            rows = [_row(stage, state, now) for stage, state in self._stages.items()]
            error = self._error and {key: value for key, value in self._error.items() if key != "retry_at"}
            if error and self._error:
                at = self._error["retry_at"]
                error["retry_in_seconds"] = None if at is None else round(max(0.0, at - now), 1)
            current = next((row["name"] for row in rows if row["state"] != "done"), Stage.GOLDEN.value)
            return {
                "stage": current,
                "ready": self.ready,
                "model": self.model,
                "revision": self.revision,
                "commit": self.commit,
                "stages": rows,
                "error": error,
            }

    def eta_seconds(self) -> float | None:
        """Seconds until the stage under way is done at the present rate; None when that is not known."""
        with self._lock:
            found = (_eta(state, self._clock()) for state in self._stages.values())
            return next((eta for eta in found if eta is not None), None)


def _eta(state: _StageState, now: float) -> float | None:
    rate = state.rate(now)
    if state.state != "running" or state.bytes_total is None or rate <= 0:
        return None
    return (state.bytes_total - state.bytes_done) / rate


def _row(stage: Stage, state: _StageState, now: float) -> dict[str, Json]:
    row: dict[str, Json] = {"name": stage.value, "state": state.state}
    if state.began is not None:
        row["started"] = datetime.fromtimestamp(state.began, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        row["seconds"] = round(now - state.began if state.seconds is None else state.seconds, 1)
    if state.bytes_total is not None:
        eta = _eta(state, now)
        row["bytes_done"] = state.bytes_done
        row["bytes_total"] = state.bytes_total
        row["bytes_per_second"] = round(state.rate(now), 1) if state.state == "running" else 0.0
        row["eta_seconds"] = None if eta is None else round(eta, 1)
        if stage is Stage.DOWNLOAD and state.state in ("running", "failed") and state.last_byte is not None:
            row["idle_seconds"] = round(now - state.last_byte, 1)
    return row
