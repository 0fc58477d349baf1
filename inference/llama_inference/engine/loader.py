"""The start-up, stage by stage, on the engine thread: each is tried again until it is done, and says why it is not."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from llama_inference.engine.progress import Progress, Stage
from llama_inference.engine.token import TokenFile
from llama_inference.errors import LoadError
from llama_inference.metrics import Metrics

log = logging.getLogger(__name__)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between tries, in seconds: `first`, doubling up to `longest`."""

    first: float = 2.0
    longest: float = 60.0

    def after(self, failures: int) -> float:
        """Return the wait after that many failures in a row, from 1 on."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))


class Stages:
    """Runs stages with retries, and keeps the start-up report."""

    def __init__(self, progress: Progress, metrics: Metrics, token: TokenFile, backoff: Backoff) -> None:
        self._progress = progress
        self._metrics = metrics
        self._token = token
        self._backoff = backoff

    def run(self, stage: Stage, action: Callable[[], R]) -> R:
        """Run one stage until it succeeds.

        A `LoadError` is reported and waited for. The wait ends at once when the token changes, starts small again when
        the last try has moved bytes, and is no shorter than whoever was asked wants it. Any other error passes through:
        it is a bug, and ends the process.
        """
        attempt = streak = 0
        while True:
            token, bytes_before = self._token.fingerprint(), self._progress.bytes_done
            self._progress.begin(stage)
            try:
                result = action()
            except LoadError as error:
                attempt += 1
                streak = 1 if self._progress.bytes_done > bytes_before else streak + 1
                wait = max(self._backoff.after(streak), error.retry_after or 0.0)
                fields = {
                    "stage": stage.value,
                    "reason": error.reason.value,
                    "attempt": attempt,
                    "retry_in_seconds": wait,
                }
                log.warning("%s", error, extra=fields)
                self._progress.failed(stage, error.reason, str(error), attempt=attempt, retry_in=wait)
                if self._token.wait(wait, since=token):
                    streak = 0
                self._progress.retrying()
            else:
                seconds = self._progress.finish(stage)
                self._metrics.load_seconds.labels(stage.value).set(seconds)
                log.info("stage done", extra={"stage": stage.value, "seconds": round(seconds, 3)})
                return result
