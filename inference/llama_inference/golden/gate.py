"""The gate between a loaded model and its callers: the golden prompts are answered as predict answers, and compared.

Unlike the stages before it, this one is not tried again: the same model gives the same answer. What mends it is
another model, another expectation, or another process, and each of these is a new start.
"""

import asyncio
import logging
import time
from collections.abc import Sequence as Seq

from llama_inference.backends.base import Backend
from llama_inference.engine.progress import Progress, Stage
from llama_inference.errors import InternalError, InvalidRequestError, LoadReason
from llama_inference.golden.prompts import PATH, GoldenPrompt
from llama_inference.metrics import Metrics
from llama_inference.protocol import predict
from llama_inference.protocol.limits import Limits
from llama_inference.scheduler.lane import Lane
from llama_inference.text.decoding import text_of

log = logging.getLogger(__name__)
TOLD = 3  # failures that the report spells out


class Gate:
    """Asks the golden prompts of one server, and keeps the stage `Golden` of its start-up report."""

    def __init__(
        self, prompts: Seq[GoldenPrompt], *, limits: Limits, lane: Lane, progress: Progress, metrics: Metrics
    ) -> None:
        self._prompts = prompts
        self._limits = limits
        self._lane = lane
        self._progress = progress
        self._metrics = metrics

    async def passed(self, backend: Backend) -> bool:
        """Ask all; return whether all were answered as expected. If not, the report says what differed.

        Raises:
            UnavailableError: the engine is lost, or the server ends.
        """
        self._progress.begin(Stage.GOLDEN)
        failures: list[str] = []
        for prompt in self._prompts:
            fault = await self._fault(backend, prompt)
            if fault is not None:
                log.error("a golden prompt failed", extra={"golden_prompt": prompt.name})
                self._metrics.golden_failures.inc()
                failures.append(f"golden prompt {prompt.name!r}: {fault}")
        if failures:
            message = told(failures, of=len(self._prompts))
            self._progress.failed(Stage.GOLDEN, LoadReason.GOLDEN_PROMPT_FAILED, message, attempt=1, retry_in=None)
            return False
        seconds = self._progress.finish(Stage.GOLDEN)
        self._metrics.load_seconds.labels(Stage.GOLDEN.value).set(seconds)
        return True

    async def _fault(self, backend: Backend, prompt: GoldenPrompt) -> str | None:
        """What is wrong with the answer to one prompt; None when it is as expected."""
        try:
            texts = await self._answer(backend, prompt)
        except (InvalidRequestError, InternalError) as error:
            return f"it could not be answered: {error}"
        return next((fault for text in texts if (fault := prompt.difference(text)) is not None), None)

    async def _answer(self, backend: Backend, prompt: GoldenPrompt) -> list[str]:
        arrived = time.monotonic()
        asked = predict.parse(prompt.request, backend.info, self._limits)
        prompts = await asyncio.to_thread(predict.encode, asked, backend)
        generation = predict.plan(asked, prompts, backend.info)
        ticket = self._lane.submit(generation, arrived=arrived)
        try:
            outcome = await ticket.outcome()
        finally:
            ticket.cancel()
        (front,) = generation.prompts
        return [text_of(backend.vocabulary, front, sequence.token_ids) for sequence in outcome.sequences]


def told(failures: Seq[str], *, of: int) -> str:
    """The sentence of the start-up report: what failed, and what mends it."""
    more = f"; and {len(failures) - TOLD} more" if len(failures) > TOLD else ""
    return (
        f"{len(failures)} of {of} golden prompts failed: {'; '.join(failures[:TOLD])}{more}. This replica stays "
        f"unready until it is restarted: correct the model or its revision, or what {PATH} expects"
    )
