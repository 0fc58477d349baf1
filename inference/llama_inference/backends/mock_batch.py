"""The mock that a server runs: many requests at once, each with its own latency and rate, and no model at all.

For load tests, clusters without GPUs, and for what the server itself costs: requests go the way of the native
engine's, through planner, batch and tickets; only the computing is replaced by waiting.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from llama_inference.backends.batching import Capacity, PlannedJob
from llama_inference.backends.mock import MockBackend, likely, words
from llama_inference.engine.clock import Clock
from llama_inference.engine.native.plan import Report, StepPlan
from llama_inference.text.stops import StopScan, StopStrings, stops_of
from llama_inference.values import FinishReason, Generation, Sequence

LONGEST_WAIT_S: Final = 0.01  # so that a request that comes meanwhile, or a hang-up, is noticed
ENTRIES: Final = 1 << 24  # keys and values are not kept: room for all rows at any length


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the mock answers.

    Attributes:
        first_token_s: seconds from the start of a request to its first token.
        token_s: seconds from each token to the next.
        tokens: output tokens, after which an end token would come; None goes on until the room is used up.
    """

    first_token_s: float = 0.0
    token_s: float = 0.0
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MockSpec:
    """One job: its prompt, tokens of its output at most, beams, sequences returned, what ends it, what is told."""

    prompt: tuple[int, ...]
    room: int
    width: int
    returned: int
    stops: StopStrings | None
    clock: Clock
    logprobs: int | None = None
    prompt_logprobs: int | None = None


class _Job:
    """A job under way; `due` is when its next token is."""

    def __init__(self, spec: MockSpec, now: float, pace: Pace) -> None:
        self.spec = spec
        self.due = now + pace.first_token_s
        self.tokens: list[int] = []
        self._words: Iterator[int] = words()
        self._stops = StopScan(spec.stops, spec.prompt)
        spec.clock.start(now)

    def next(self, pace: Pace, now: float) -> FinishReason | None:
        """Take the next token; return why the job ends with it, None when it goes on."""
        if self.due + pace.token_s < now - 1:  # a second behind its rate: what was missed is not made up for
            self.due = now
        self.due += pace.token_s
        token = next(self._words)
        self.tokens.append(token)
        if pace.tokens is not None and len(self.tokens) >= pace.tokens:
            return FinishReason.STOP
        if self._stops.finds(token):
            return FinishReason.STOP
        if len(self.tokens) >= self.spec.room:
            return FinishReason.LENGTH
        return FinishReason.TIME if self.spec.clock.is_over(now) else None


class MockExecutor:
    """Carries out steps by waiting for the tokens that are due next."""

    def __init__(
        self,
        pace: Pace,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._specs: dict[int, MockSpec] = {}
        self._jobs: dict[int, _Job] = {}

    def open(self, number: int, spec: object) -> None:
        """Take a job in; its time begins when its prompt is read."""
        assert isinstance(spec, MockSpec)  # noqa: S101 - `jobs` made it
        self._specs[number] = spec

    def close(self, number: int) -> None:
        """Forget a job."""
        self._specs.pop(number, None)
        self._jobs.pop(number, None)

    def reset(self) -> None:
        """Forget all jobs."""
        self._specs.clear()
        self._jobs.clear()

    def step(self, plan: StepPlan) -> list[Report]:
        """Wait for the first token that is due, a moment at most; report all that are."""
        now = self._clock()
        for prefill in plan.prefills:
            if prefill.last and prefill.job not in self._jobs:
                self._jobs[prefill.job] = _Job(self._specs[prefill.job], now, self._pace)
        wait = min((job.due for job in self._jobs.values()), default=now + LONGEST_WAIT_S) - now
        if wait > 0:
            self._sleep(min(wait, LONGEST_WAIT_S))
            now = self._clock()
        return [self._report(number, job, now) for number, job in self._jobs.items() if job.due <= now]

    def _report(self, number: int, job: _Job, now: float) -> Report:
        reason = job.next(self._pace, now)
        spec, tokens = job.spec, tuple(job.tokens)
        read = likely(spec.prompt[1:], spec.prompt_logprobs) if len(tokens) == 1 or reason else ()
        told = likely(tokens, spec.logprobs) if reason else ()
        done = None if reason is None else (Sequence(tokens, reason, told, read),) * spec.returned
        entries = len(spec.prompt) + len(tokens) - 1
        if spec.width > 1:
            return Report(job=number, entries=entries, done=done)
        return Report(
            job=number,
            tokens=tokens[-1:],
            logprobs=likely(tokens[-1:], spec.logprobs),
            prompt_logprobs=read if len(tokens) == 1 else (),
            entries=entries,
            done=done,
        )


class BatchingMock(MockBackend):
    """The mock with a batch."""

    def __init__(self, pace: Pace, *, rows: int) -> None:
        """`rows` are the sequences that are answered at once; each beam is one."""
        super().__init__(step_seconds=pace.token_s)
        self.executor = MockExecutor(pace)
        self.capacity = Capacity(rows=rows, tokens=ENTRIES, entries=ENTRIES)

    def covers(self, generation: Generation) -> str | None:
        """Every request joins the batch."""
        del generation

    def jobs(self, generation: Generation) -> list[PlannedJob]:
        """One job a sequence, or one a beam search."""
        beams = generation.parameters.get("num_beams") or 1
        clock = Clock(generation.max_time)
        stops = stops_of(generation, self.vocabulary)
        each, returned = (1, generation.sequences) if beams > 1 else (generation.sequences, 1)
        return [
            PlannedJob(
                spec=MockSpec(
                    prompt=prompt,
                    room=generation.room(len(prompt)),
                    width=beams,
                    returned=returned,
                    stops=stops,
                    clock=clock,
                    logprobs=generation.logprobs,
                    prompt_logprobs=generation.prompt_logprobs,
                ),
                index=number * generation.sequences + sequence,
                width=beams,
                prompt=prompt,
                most=generation.length(len(prompt)) * beams,
            )
            for number, prompt in enumerate(generation.prompts)
            for sequence in range(each)
        ]
