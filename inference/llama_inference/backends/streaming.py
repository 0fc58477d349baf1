"""Backends that compute elsewhere, each request as a stream of its own: vLLM's engine, a TGI server.

They are driven like the native engine: `scheduler` plans who runs, and a step is "wait for what has arrived". So
fairness, cancelling, deadlines and metrics are the same for every backend. Streams run on an event loop of their own.
"""

import asyncio
import logging
import queue
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine
from collections.abc import Sequence as Seq
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from llama_inference.backends.base import Control
from llama_inference.backends.batching import Capacity, PlannedJob
from llama_inference.backends.tokens import Tokens
from llama_inference.engine.clock import Clock
from llama_inference.engine.native.plan import Prefill, Report, StepPlan
from llama_inference.errors import EngineLostError, InternalError, LoadError, LoadReason, RequestError
from llama_inference.text.stops import StopScan, StopStrings, stops_of
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import FinishReason, Generation, Json, ModelInfo, Sequence, Step

log = logging.getLogger(__name__)
R = TypeVar("R")
LONGEST_WAIT_S: Final = 0.01  # so that a request that comes meanwhile, or a hang-up, is noticed
ENTRIES: Final = 1 << 24  # keys and values are the other's business: room for all rows at any length
FAILED: Final = "the generation failed; the server's log has the reason"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a stream hands over: new tokens, and at its end the finished sequences."""

    tokens: tuple[int, ...] = ()
    done: tuple[Sequence, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """One job: what `stream` is called with, its prompt, its beams, what ends it, and seconds of computing at most."""

    call: Any
    prompt: tuple[int, ...]
    width: int = 1
    stops: StopStrings | None = None
    clock: Clock = field(default_factory=lambda: Clock(None))


class LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self, name: str) -> None:
        self._end = asyncio.Event()
        begun: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(begun)), name=name, daemon=True)
        self._thread.start()
        self._loop = begun.result()

    async def _main(self, begun: "Future[asyncio.AbstractEventLoop]") -> None:
        begun.set_result(asyncio.get_running_loop())
        await self._end.wait()

    def start(self, work: Coroutine[Any, Any, R]) -> "Future[R]":
        """Start something; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run something to its end, from another thread; raises what it raises."""
        return self.start(work).result()

    def stop(self) -> None:
        """End the loop, and what still runs on it; an engine that died on it may have ended it before."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


class _Job:
    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.stream: Future[None] | None = None
        self.tokens: list[int] = []
        self._stops = StopScan(spec.stops, spec.prompt)
        spec.clock.start()

    def report(self, number: int, chunk: Chunk) -> Report:
        """Take what has arrived; what is there at a stop string, or when `max_time` is up, is the output."""
        place = self._stops.place(chunk.tokens)
        tokens = chunk.tokens[:place]
        self.tokens += tokens
        done = chunk.done
        if place is not None:
            done = (Sequence(tuple(self.tokens), FinishReason.STOP),)
        elif done is None and self.spec.clock.expired:
            done = (Sequence(tuple(self.tokens), FinishReason.TIME),)
        entries = len(self.spec.prompt) + max(1, len(self.tokens)) - 1
        return Report(job=number, tokens=tokens if self.spec.width == 1 else (), entries=entries, done=done)


class StreamExecutor:
    """Carries out steps by waiting for what streams hand over."""

    def __init__(self, stream: Callable[[Any], AsyncGenerator[Chunk]], loop: LoopThread) -> None:
        self._stream = stream
        self._loop = loop
        self._specs: dict[int, StreamSpec] = {}
        self._jobs: dict[int, _Job] = {}
        self._arrived: queue.SimpleQueue[tuple[_Job, int, Chunk | Exception]] = queue.SimpleQueue()

    def open(self, number: int, spec: object) -> None:
        """Take a job in; its stream starts when its prompt is to be read."""
        assert isinstance(spec, StreamSpec)  # noqa: S101 - `jobs` made it
        self._specs[number] = spec

    def close(self, number: int) -> None:
        """End a stream, wherever it is."""
        self._specs.pop(number, None)
        job = self._jobs.pop(number, None)
        if job is not None and job.stream is not None:
            job.stream.cancel()

    def reset(self) -> None:
        """End all streams."""
        for number in (*self._specs, *self._jobs):
            self.close(number)

    def step(self, plan: StepPlan) -> list[Report]:
        """Start new streams; wait a moment at most for what any of them hands over.

        Raises:
            EngineLostError: what computes is gone.
        """
        for prefill in plan.prefills:
            if prefill.last and prefill.job not in self._jobs:
                self._start(prefill.job)
        failed: dict[int, Report] = {}
        events = self._wait()
        chunks = {number: Chunk() for number, job in self._jobs.items() if job.spec.clock.expired}
        for number, event in events:
            if isinstance(event, Chunk):
                before = chunks.get(number, Chunk())
                chunks[number] = Chunk(before.tokens + event.tokens, event.done)
            else:
                failed[number] = Report(job=number, error=_told(event))
        reports = [self._jobs[number].report(number, chunk) for number, chunk in chunks.items() if number not in failed]
        return [*reports, *failed.values()]

    def _start(self, number: int) -> None:
        job = self._jobs[number] = _Job(self._specs[number])
        job.stream = self._loop.start(self._pump(number, job))

    async def _pump(self, number: int, job: _Job) -> None:
        try:
            async with aclosing(self._stream(job.spec.call)) as chunks:
                async for chunk in chunks:
                    self._arrived.put((job, number, chunk))
        except Exception as error:  # noqa: BLE001 - handed to the step, which tells the caller
            self._arrived.put((job, number, error))

    def _wait(self) -> list[tuple[int, Chunk | Exception]]:
        """Return what has arrived for jobs that are still open, in order."""
        if not self._jobs:
            return []
        found: list[tuple[int, Chunk | Exception]] = []
        try:
            job, number, event = self._arrived.get(timeout=LONGEST_WAIT_S)
            while True:
                if self._jobs.get(number) is job:  # else it was closed, and its number may be another's
                    found.append((number, event))
                job, number, event = self._arrived.get_nowait()
        except queue.Empty:
            return found


def _told(error: Exception) -> Exception:
    if isinstance(error, EngineLostError):
        raise error
    if isinstance(error, RequestError):
        return error
    log.error("a generation failed", exc_info=error)
    return InternalError(FAILED)


class StreamingBackend(ABC):
    """Base of the backends that compute elsewhere; a subclass sets what it is and its tokenizer."""

    info: ModelInfo
    tokens: Tokens

    def __init__(self, *, rows: int, name: str) -> None:
        """`rows` are the sequences that run at once; `name` is what it is called in messages."""
        self._name = name
        self.loop = LoopThread(name)
        self.executor = StreamExecutor(self.stream, self.loop)
        self.capacity = Capacity(rows=rows, tokens=ENTRIES, entries=ENTRIES)

    @abstractmethod
    def stream(self, call: Any) -> AsyncGenerator[Chunk]:  # noqa: ANN401 - whatever `calls` made
        """Run one call of `calls`; the last chunk holds the finished sequences.

        Raises:
            RequestError: what the caller is told.
            EngineLostError: what computes is gone.
        """

    @abstractmethod
    def call(self, generation: Generation, prompt: tuple[int, ...], seed: int) -> object:
        """Return what `stream` needs for one prompt: one sequence, or all of a beam search.

        Raises:
            InvalidRequestError: the request cannot be put to this backend.
        """

    @property
    def vocabulary(self) -> Vocabulary:
        """The bytes of its tokens."""
        return self.tokens.vocabulary

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return token ids; `special` adds the model's start token where it has one."""
        return self.tokens.encode(text, special=special)

    def render(self, messages: Seq[dict[str, str]], **how: Json) -> str:
        """Return the prompt for a chat, by the model's own template."""
        return self.tokens.render(messages, **how)

    def covers(self, generation: Generation) -> str | None:
        """Every request joins the batch: what cannot be honoured was refused before."""
        del generation

    def jobs(self, generation: Generation) -> list[PlannedJob]:
        """One job a sequence, or one a beam search; raises as `call` does."""
        beams = generation.parameters.get("num_beams") or 1
        seed = secrets.randbits(63) if generation.seed is None else generation.seed
        clock = Clock(generation.max_time)
        stops = stops_of(generation, self.vocabulary)
        return [
            PlannedJob(
                spec=StreamSpec(
                    call=self.call(generation, prompt, mixed(seed, number, sequence)),
                    prompt=prompt,
                    width=beams,
                    stops=stops,
                    clock=clock,
                ),
                index=number * generation.sequences + sequence,
                width=beams,
                prompt=prompt,
                most=generation.length(len(prompt)) * beams,
            )
            for number, prompt in enumerate(generation.prompts)
            for sequence in range(1 if beams > 1 else generation.sequences)
        ]

    def generate(self, generation: Generation, control: Control) -> list[Sequence]:
        """Run one request beside the batch; see `backends.base.Backend`."""
        executor = StreamExecutor(self.stream, self.loop)
        jobs = self.jobs(generation)
        for number, job in enumerate(jobs):
            executor.open(number, job.spec)
        plan = StepPlan(prefills=tuple(Prefill(number, 0, 1, last=True) for number in range(len(jobs))))
        results: dict[int, Sequence] = {}
        left = len(jobs)
        try:
            while left:
                steps: list[Step] = []
                reports = executor.step(plan)
                for report in reports:
                    if report.error is not None:
                        raise report.error
                    if report.tokens and generation.streamed:
                        steps.append(Step(jobs[report.job].index, report.tokens))
                    if report.done is not None:
                        executor.close(report.job)
                        results.update(enumerate(report.done, jobs[report.job].index))
                        left -= 1
                plan = StepPlan()
                if reports:
                    control.step(steps)
        finally:
            executor.reset()
        return [results[index] for index in sorted(results)]

    def warm_up(self) -> None:
        """Generate a few tokens.

        Raises:
            LoadError: LoadFailed when that cannot be done.
        """
        prompt = tuple(self.encode("The", special=True)) or (0,)
        tokens = min(self.info.max_context, len(prompt) + 2)
        try:
            self.generate(Generation(prompts=(prompt,), max_tokens=tokens), _Unwatched())
        except RequestError as error:
            raise LoadError(LoadReason.LOAD_FAILED, f"{self._name} cannot take a step: {error}") from error


class _Unwatched:
    """The control of a generation that nobody streams and nobody gives up."""

    def step(self, steps: Seq[Step]) -> None:
        """Nothing to do."""


def mixed(seed: int, prompt: int, sequence: int) -> int:
    """A seed for each sequence: far apart, so that neighbouring seeds of requests share nothing."""
    return (seed + prompt + sequence * 0x9E3779B97F4A7C15) % 2**63
