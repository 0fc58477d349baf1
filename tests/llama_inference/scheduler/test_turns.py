"""Many requests in the engine at once: they join and leave between steps, and those that run alone have their turns."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from llama_inference.backends.base import Backend
from llama_inference.errors import (
    AbandonedError,
    EngineLostError,
    InternalError,
    InvalidRequestError,
    QueueFullError,
    UnavailableError,
)
from llama_inference.metrics import Metrics
from llama_inference.scheduler.lane import Lane
from llama_inference.scheduler.ticket import Ticket
from llama_inference.scheduler.turns import Turns
from llama_inference.scheduler.worker import EngineThread
from llama_inference.values import Generation, Step
from tests.llama_inference.harness import PATIENCE_S, Gate, soon
from tests.llama_inference.scheduler.batching.counting import ALONE, CountingBackend

UNCOVERED: dict[str, Any] = {ALONE: 1.5}


@dataclass
class Engine:
    """A lane over a counting backend, its loop running."""

    lane: Lane
    backend: CountingBackend
    gate: Gate
    metrics: Metrics
    task: "asyncio.Task[None]"
    deaths: list[BaseException]

    def submit(self, *, tokens: int = 3, prompts: int = 1, streamed: bool = False, **parameters: Any) -> Ticket:
        """A request for that many output tokens."""
        generation = Generation(
            prompts=((1,),) * prompts,
            max_tokens=1 + tokens,
            sequences=parameters.get("num_return_sequences", 1),
            parameters=parameters,
            streamed=streamed,
        )
        return self.lane.submit(generation, arrived=time.monotonic())

    async def running(self, count: int) -> None:
        """Wait until that many requests run."""
        await soon(lambda: self.value("num_requests_running") == count, f"{count} running")

    async def idle(self) -> None:
        """Wait until nothing runs and nothing waits."""
        async with asyncio.timeout(PATIENCE_S):
            await self.lane.drained()

    def value(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(f"llama_inference_{name}", labels) or 0.0


@pytest.fixture
async def engine(gate: Gate) -> AsyncIterator[Engine]:
    """A lane with one place over a batch of four rows, whose steps the test lets pass."""
    backend, metrics = CountingBackend(gate), Metrics()
    deaths: list[BaseException] = []
    thread = EngineThread[Backend](lambda: backend, on_ready=lambda _: None, on_death=deaths.append)
    thread.start()
    lane = Lane(thread, max_queue=1, metrics=metrics)
    lane.opened(backend)
    task = asyncio.create_task(lane.run())
    yield Engine(lane, backend, gate, metrics, task, deaths)
    gate.open()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def tokens(ticket: Ticket) -> list[tuple[int, ...]]:
    """The sequences of a request's result."""
    return [sequence.token_ids for sequence in (await ticket.outcome()).sequences]


async def test_requests_are_computed_together(engine: Engine) -> None:
    """Four that come one after the other share steps; the later ones join those under way."""
    first = engine.submit(tokens=5)
    engine.gate.let(1)
    await engine.running(1)
    others = [engine.submit(tokens=3) for _ in range(3)]
    engine.gate.let(2)
    await engine.running(4)
    engine.gate.open()
    assert await tokens(first) == [(1, 2, 3, 4, 5)]
    assert [await tokens(ticket) for ticket in others] == [[(1, 2, 3)]] * 3
    assert engine.backend.executor.most_at_once == 4


async def test_rows_that_are_free_are_no_queue(engine: Engine) -> None:
    """Four rows and one place: five are taken, the sixth is sent away, whatever has begun."""
    tickets = [engine.submit() for _ in range(5)]
    with pytest.raises(QueueFullError):
        engine.submit()
    engine.gate.open()
    for ticket in tickets:
        await ticket.outcome()


async def test_a_request_of_many_rows_comes_back_in_order(engine: Engine) -> None:
    """Six sequences in four rows: the result has them by prompt and sequence."""
    engine.gate.open()
    assert await tokens(engine.submit(prompts=3, num_return_sequences=2, tokens=1)) == [
        (10 * index + 1,) for index in range(6)
    ]


async def test_steps_are_told_by_sequence_as_they_are_decided(engine: Engine) -> None:
    """A stream of two sequences has both in each step."""
    engine.gate.open()
    ticket = engine.submit(prompts=2, tokens=2, streamed=True)
    steps = [event async for event in ticket.events() if isinstance(event, Step)]
    assert steps == [Step(0, (1,)), Step(1, (11,)), Step(0, (2,)), Step(1, (12,))]


async def test_one_that_is_given_up_leaves_within_a_step_and_the_others_stay(engine: Engine) -> None:
    """Its job is closed before the next step; the other ends as if nothing had been."""
    leaves, stays = engine.submit(tokens=100), engine.submit(tokens=3)
    engine.gate.let(1)
    await engine.running(2)
    leaves.cancel()
    engine.gate.let(1)
    await engine.running(1)
    assert len(engine.backend.executor.jobs) == 1
    engine.gate.open()
    assert await tokens(stays) == [(1, 2, 3)]
    with pytest.raises(AbandonedError):
        await leaves.outcome()


async def test_what_is_not_covered_runs_alone_between_steps(engine: Engine) -> None:
    """By `generate`; the batch goes on afterwards."""
    batched = engine.submit(tokens=4)
    engine.gate.let(1)
    await engine.running(1)
    alone = engine.submit(tokens=2, **UNCOVERED)
    engine.gate.open()
    assert await tokens(batched) == [(1, 2, 3, 4)]
    assert len((await tokens(alone))[0]) == 2
    assert engine.backend.begun == 1


@pytest.mark.slow
async def test_running_alone_takes_no_more_than_half_of_the_time() -> None:
    """Thirty wait to run alone, each as long as many steps: the batch of twenty steps ends while most of them wait."""
    order: list[str] = []

    class Recording:
        def started(self, ticket: Ticket) -> None:
            order.append("alone" if ticket.generation.parameters else "batched")

        def ended(self, ticket: Ticket, result: object) -> None:
            order.append("end" if not ticket.generation.parameters else "")

        def found(self, tokens: int) -> None:
            """Nothing begins alike."""

    backend = CountingBackend(Gate())
    backend.generate = lambda generation, control: time.sleep(0.02) or []  # pyright: ignore[reportAttributeAccessIssue]
    turns = Turns(Recording())
    batched = Generation(prompts=((1,),), max_tokens=21)
    alone = Generation(prompts=((1,),), max_tokens=2, parameters=UNCOVERED)
    for generation in (batched, *[alone] * 30):
        turns.put(Ticket(generation, arrived=0.0, deadline=None, on_closed=lambda _, __: None))
    turns.run(backend)
    assert order[: order.index("end")].count("alone") < 10
    assert order.count("alone") == 30


async def test_what_need_not_be_computed_again_is_counted(engine: Engine) -> None:
    """A prompt that begins as one that has been answered: all but its last token are there."""
    engine.gate.open()
    prompt = tuple(range(100, 140))
    for _ in range(2):
        assert engine.value("prefix_cache_hits_total") == 0
        ticket = engine.lane.submit(Generation(prompts=(prompt,), max_tokens=44), arrived=time.monotonic())
        await ticket.outcome()
    assert engine.value("prefix_cache_hits_total") == 39


async def test_what_cannot_fit_the_batch_runs_alone(engine: Engine) -> None:
    """More entries than the batch has: transformers' way has the rest of the memory."""
    engine.gate.open()
    await engine.submit(tokens=5000).outcome()
    assert engine.backend.begun == 1


async def test_a_contradiction_fails_its_request_only(engine: Engine) -> None:
    """It is found when the jobs are made, and told to its caller."""
    engine.gate.open()
    bad, good = engine.submit(top_k=3), engine.submit()
    with pytest.raises(InvalidRequestError, match="contradicts"):
        await bad.outcome()
    assert await tokens(good) == [(1, 2, 3)]


async def test_a_bug_in_making_jobs_fails_its_request_only(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Its caller hears 500, the log has the reason, and those in the batch and those to come are served."""
    running = engine.submit(tokens=3)
    engine.gate.let(1)
    await engine.running(1)
    engine.backend.jobs_fail_with = RuntimeError("a bug")
    bad = engine.submit()
    engine.gate.open()
    with pytest.raises(InternalError):
        await bad.outcome()
    assert await tokens(running) == [(1, 2, 3)]
    assert await tokens(engine.submit()) == [(1, 2, 3)]
    assert "a bug" in caplog.text
    assert not engine.deaths


@pytest.mark.parametrize("prompts", [1, 2])
async def test_a_job_that_cannot_be_opened_fails_its_request_only(engine: Engine, prompts: int) -> None:
    """The first or the second of its jobs: none stays, in the executor as in the plan, and others are served."""
    running = engine.submit(tokens=3)
    engine.gate.let(1)
    await engine.running(1)
    engine.backend.executor.refuses = (prompts - 1, RuntimeError("a bug"))
    bad = engine.submit(prompts=prompts)
    engine.gate.open()
    with pytest.raises(InternalError):
        await bad.outcome()
    assert await tokens(running) == [(1, 2, 3)]
    assert await tokens(engine.submit(prompts=4)) == [(1, 2, 3), (11, 12, 13), (21, 22, 23), (31, 32, 33)]
    await engine.idle()
    assert not engine.backend.executor.jobs
    assert engine.backend.executor.most_at_once == 4
    assert not engine.deaths


async def told_that_it_is_lost(engine: Engine, *tickets: Ticket) -> None:
    """Wait until each caller has heard 503, and the engine's thread has ended with the reason."""
    for ticket in tickets:
        with pytest.raises(UnavailableError) as caught:
            await ticket.outcome()
        assert caught.value.code == "engine_lost"
    with pytest.raises(EngineLostError):
        await engine.task


async def test_an_engine_lost_while_jobs_are_made_is_told_to_all(engine: Engine) -> None:
    """It is not taken for a fault of the one request: the thread ends, and each caller hears 503."""
    running = engine.submit(tokens=100)
    engine.gate.let(1)
    await engine.running(1)
    engine.backend.jobs_fail_with = EngineLostError("the device failed")
    new = engine.submit()
    engine.gate.open()
    await told_that_it_is_lost(engine, running, new)


@pytest.mark.parametrize(
    ("fault", "code"),
    [(RuntimeError("a bug"), "internal_error"), (InternalError("no", code="out_of_memory"), "out_of_memory")],
)
async def test_a_step_that_fails_fails_who_was_in_it_and_the_next_are_served(
    engine: Engine, fault: Exception, code: str
) -> None:
    """The batch begins anew, with nothing left of the old one."""
    lost = [engine.submit(tokens=9), engine.submit(tokens=9)]
    engine.gate.let(1)
    await engine.running(2)
    engine.backend.executor.fails_with = fault
    engine.gate.open()
    for ticket in lost:
        with pytest.raises(InternalError) as caught:
            await ticket.outcome()
        assert caught.value.code == code
    await engine.idle()
    assert engine.backend.executor.resets == 1
    assert await tokens(engine.submit()) == [(1, 2, 3)]
    assert not engine.deaths


@pytest.mark.parametrize("parameters", [{}, UNCOVERED])
async def test_a_lost_engine_is_told_to_all_that_run(engine: Engine, parameters: dict[str, Any]) -> None:
    """Those in the batch as well as the one that ran alone, each with 503."""
    batched = engine.submit(tokens=100)
    other = engine.submit(**parameters)
    if parameters:
        engine.backend.fails_with = EngineLostError("the device failed")
    else:
        engine.gate.let(1)
        await engine.running(2)
        engine.backend.executor.fails_with = EngineLostError("the device failed")
    engine.gate.open()
    await told_that_it_is_lost(engine, batched, other)
    await soon(lambda: engine.deaths)


async def test_nothing_is_left_of_what_has_ended(engine: Engine) -> None:
    """Finished, given up in the queue, given up while running: no job, no count, no ticket remains."""
    tickets = [engine.submit(tokens=4) for _ in range(5)]
    engine.gate.let(1)
    await engine.running(4)
    tickets[4].cancel()
    tickets[0].cancel()
    engine.gate.open()
    await asyncio.gather(*(ticket.outcome() for ticket in tickets[1:4]))
    await engine.idle()
    assert not engine.backend.executor.jobs
    assert (engine.value("num_requests_running"), engine.value("num_requests_waiting")) == (0, 0)
    assert engine.value("requests_abandoned_total", reason="hung_up") == 2
