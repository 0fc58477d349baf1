"""Follows the supervisor's report: the start-up report, the lifecycle and the number at once go by it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from llama_inference.engine.progress import Progress, Stage
from llama_inference.metrics import Metrics
from llama_inference.package.exchange import Exchanges
from llama_inference.package.report import Report, State, parse
from llama_inference.scheduler.lifecycle import Lifecycle

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 0.1
BEFORE_LOAD: Final = (Stage.RESOLVE, Stage.DOWNLOAD)  # the environment's Job has done both


class Watch:
    """Reads the report again and again, and acts on what has changed."""

    def __init__(
        self,
        path: Path,
        *,
        lifecycle: Lifecycle,
        progress: Progress,
        exchanges: Exchanges,
        metrics: Metrics,
        passed: Callable[[], Awaitable[bool]],
    ) -> None:
        """`passed` asks the golden prompts: the package answers callers once it returns true."""
        self._path = path
        self._lifecycle = lifecycle
        self._progress = progress
        self._exchanges = exchanges
        self._metrics = metrics
        self._passed = passed
        self._golden: bool | None = None  # whether the golden prompts were passed; they are asked once
        self.report = Report()

    async def run(self) -> None:
        """Follow for ever."""
        for stage in BEFORE_LOAD:
            self._progress.begin(stage)
            self._progress.finish(stage)
        self._progress.begin(Stage.LOAD)
        seen = ""
        while True:
            text = self._read()
            if text and text != seen:
                seen = text
                await self._take(text)
            await asyncio.sleep(LOOK_EVERY_S)

    def _read(self) -> str:
        """The report's text; nothing while there is none."""
        try:
            return self._path.read_text()
        except OSError:
            return ""

    async def _take(self, text: str) -> None:
        try:
            report = parse(text)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("the package's report cannot be read", extra={"detail": str(error)})
            return
        before, self.report = self.report, report
        if report.concurrency is not None:
            self._exchanges.concurrency = report.concurrency
        if report.state is not State.SERVING:
            self._waits(report, before)
        elif before.state is not State.SERVING:
            await self._serves()
        self._progress.ready = self._lifecycle.ready and report.healthy

    def _waits(self, report: Report, before: Report) -> None:
        if before.state is State.SERVING:
            log.warning("the package does not serve any more", extra={"state": report.state.value})
        self._lifecycle.loading()
        if before.state is State.SERVING or report.state is not State.FAILED:
            self._progress.begin(Stage.LOAD)
        if report.failure is not None:
            wait = None if report.retry_at is None else max(0.0, report.retry_at - time.time())
            sentence, reason = report.failure.sentence, report.failure.reason
            log.error("the package does not load", extra={"reason": reason.value, "detail": sentence})
            self._progress.failed(Stage.LOAD, reason, sentence, attempt=report.attempt, retry_in=wait)

    async def _serves(self) -> None:
        for stage in (Stage.LOAD, Stage.WARM_UP):
            self._metrics.load_seconds.labels(stage.value).set(self._progress.finish(stage))
        if self._golden is None:
            self._golden = await self._passed()
        elif self._golden:
            self._progress.finish(Stage.GOLDEN)
        if self._golden:
            self._lifecycle.serving()
            log.info("ready", extra={"package": self.report.hash})

    @property
    def ready(self) -> bool:
        """Whether a request would be answered: it serves, and says itself that it is healthy."""
        return self._lifecycle.ready and self.report.healthy
