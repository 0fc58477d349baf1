"""The queue in front of the engine: order, bounds, deadlines, giving up, and faults that stay with their request."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from llama_inference.backends.base import Backend
from llama_inference.errors import (
    AbandonedError,
    DeadlineError,
    EngineLostError,
    InternalError,
    InvalidRequestError,
    QueueFullError,
    UnavailableError,
)
from llama_inference.metrics import Metrics
from llama_inference.scheduler.lane import Lane
from llama_inference.scheduler.ticket import Ticket
from llama_inference.scheduler.worker import EngineThread
from llama_inference.values import Generation, Outcome, Step
from tests.llama_inference.harness import PATIENCE_S, Gate, PacedBackend, soon


@dataclass
class Engine:
    """A lane over a mock backend, its loop running."""

    lane: Lane
    backend: PacedBackend
    gate: Gate
    metrics: Metrics
    task: "asyncio.Task[None]"
    deaths: list[BaseException]

    def submit(self, *, tokens: int = 3, streamed: bool = False, deadline_s: float | None = None) -> Ticket:
        """A request for that many output tokens."""
        now = time.monotonic()
        generation = Generation(prompts=((1,),), max_tokens=1 + tokens, streamed=streamed)
        return self.lane.submit(generation, arrived=now, deadline=None if deadline_s is None else now + deadline_s)

    async def running(self, count: int) -> None:
        """Wait until that many generations have begun."""
        await soon(lambda: self.backend.begun == count, f"generation {count}")

    async def idle(self) -> None:
        """Wait until nothing runs and nothing waits."""
        async with asyncio.timeout(PATIENCE_S):
            await self.lane.drained()

    def value(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(f"llama_inference_{name}", labels) or 0.0


@pytest.fixture
async def engine(gate: Gate) -> AsyncIterator[Engine]:
    """A lane with two places, whose steps the test lets pass."""
    backend, metrics = PacedBackend(gate), Metrics()
    deaths: list[BaseException] = []
    thread = EngineThread[Backend](lambda: backend, on_ready=lambda _: None, on_death=deaths.append)
    thread.start()
    lane = Lane(thread, max_queue=2, metrics=metrics)
    lane.opened(backend)
    task = asyncio.create_task(lane.run())
    yield Engine(lane, backend, gate, metrics, task, deaths)
    gate.open()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_requests_run_one_at_a_time_in_order_of_arrival(engine: Engine) -> None:
    """First come, first served."""
    done: list[int] = []
    first = engine.submit()
    await engine.running(1)
    tickets = [first, engine.submit(), engine.submit()]

    async def wait(number: int, ticket: Ticket) -> None:
        await ticket.outcome()
        done.append(number)

    waits = [asyncio.create_task(wait(number, ticket)) for number, ticket in enumerate(tickets)]
    assert engine.backend.begun == 1
    engine.gate.open()
    await asyncio.gather(*waits)
    assert done == [0, 1, 2]


async def test_a_full_queue_sends_the_next_one_away_with_the_time_to_wait(engine: Engine) -> None:
    """One runs, two wait, the fourth is told when to come back."""
    engine.submit()
    await engine.running(1)
    engine.submit()
    engine.submit()
    with pytest.raises(QueueFullError, match="2 requests wait already") as caught:
        engine.submit()
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 1


async def test_the_gauges_follow_the_queue(engine: Engine) -> None:
    """One runs, one waits; then nothing does."""
    first = engine.submit()
    await engine.running(1)
    second = engine.submit()
    assert (engine.value("num_requests_running"), engine.value("num_requests_waiting")) == (1, 1)
    engine.gate.open()
    await first.outcome()
    await second.outcome()
    await engine.idle()
    assert (engine.value("num_requests_running"), engine.value("num_requests_waiting")) == (0, 0)


async def test_a_waiting_request_that_is_given_up_frees_its_place_and_never_runs(engine: Engine) -> None:
    """At once: the engine is not asked."""
    first = engine.submit()
    await engine.running(1)
    given_up = engine.submit()
    engine.submit()
    given_up.cancel()
    engine.submit()  # there is room again
    with pytest.raises(AbandonedError):
        await given_up.outcome()
    engine.gate.open()
    await first.outcome()
    await engine.idle()
    assert engine.backend.begun == 3
    assert engine.value("requests_abandoned_total", reason="hung_up") == 1


async def test_a_running_request_that_is_given_up_ends_at_its_next_step(engine: Engine) -> None:
    """Not one step more than the one under way."""
    ticket = engine.submit(tokens=1000)
    await engine.running(1)
    engine.gate.let(2)
    await soon(lambda: engine.gate.passed == 2)
    ticket.cancel()
    engine.gate.let(1)
    await engine.idle()
    assert engine.gate.passed == 3


async def test_a_deadline_counts_the_time_in_the_queue(engine: Engine) -> None:
    """A request that never ran is answered 504, and frees its place."""
    engine.submit()
    await engine.running(1)
    late = engine.submit(deadline_s=0.02)
    with pytest.raises(DeadlineError, match="in the queue"):
        await late.outcome()
    assert engine.value("num_requests_waiting") == 0
    assert engine.value("requests_abandoned_total", reason="deadline_exceeded") == 1


async def test_a_deadline_ends_a_running_request_within_a_step(engine: Engine) -> None:
    """Its caller is told at once, its slot is free after the step under way."""
    late = engine.submit(tokens=1000, deadline_s=0.05)
    await engine.running(1)
    with pytest.raises(DeadlineError, match="while tokens were being generated"):
        await late.outcome()
    engine.gate.let(1)
    await engine.idle()
    assert engine.gate.passed == 1


async def test_a_deadline_after_the_end_changes_nothing(engine: Engine) -> None:
    """Its timer is cancelled with the end."""
    engine.gate.open()
    ticket = engine.submit(deadline_s=0.03)
    assert isinstance(await ticket.outcome(), Outcome)
    await asyncio.sleep(0.04)
    assert engine.value("requests_abandoned_total", reason="deadline_exceeded") == 0


@pytest.mark.parametrize(
    ("fault", "seen", "code"),
    [
        (InvalidRequestError("no", param="top_k"), InvalidRequestError, "invalid_parameter"),
        (InternalError("no memory", code="out_of_memory"), InternalError, "out_of_memory"),
        (RuntimeError("a bug"), InternalError, "internal_error"),
    ],
)
async def test_a_failing_request_harms_no_other(engine: Engine, fault: Exception, seen: type, code: str) -> None:
    """It gets its error; the next one is answered."""
    engine.gate.open()
    engine.backend.fails_with = fault
    bad, good = engine.submit(), engine.submit()
    with pytest.raises(seen) as caught:
        await bad.outcome()
    assert getattr(caught.value, "code", None) == code
    assert len((await good.outcome()).sequences) == 1
    assert not engine.deaths


async def test_an_unexpected_fault_is_not_shown_to_the_caller(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Its text stands in the log only."""
    engine.gate.open()
    engine.backend.fails_with = RuntimeError("secret detail")
    with pytest.raises(InternalError) as caught:
        await engine.submit().outcome()
    assert "secret detail" not in str(caught.value)
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("fault", [EngineLostError("the device failed"), SystemExit(3)])
async def test_a_lost_engine_ends_the_lane_and_its_request_is_told(engine: Engine, fault: BaseException) -> None:
    """With 503 and a time to come back; the thread's end is reported."""
    engine.gate.open()
    engine.backend.fails_with = fault
    ticket = engine.submit()
    with pytest.raises(UnavailableError) as caught:
        await ticket.outcome()
    assert caught.value.code == "engine_lost"
    assert caught.value.retry_after is not None
    with pytest.raises(EngineLostError):
        await engine.task
    await soon(lambda: engine.deaths)


async def test_all_that_run_and_wait_can_be_failed_at_once(engine: Engine) -> None:
    """As at the end of a drain."""
    first = engine.submit(tokens=1000)
    await engine.running(1)
    second = engine.submit()
    engine.lane.fail_all(UnavailableError("the end", code="draining"))
    for ticket in (first, second):
        with pytest.raises(UnavailableError, match="the end"):
            await ticket.outcome()
    engine.gate.let(1)
    await engine.idle()
    assert engine.backend.begun == 1


async def test_steps_arrive_as_they_are_decided_and_the_outcome_last(engine: Engine) -> None:
    """Not collected until the end."""
    ticket = engine.submit(tokens=2, streamed=True)
    events = ticket.events()
    engine.gate.let(1)
    first = await anext(events)
    assert isinstance(first, Step)
    assert engine.gate.passed == 1
    engine.gate.open()
    rest = [event async for event in events]
    assert [type(event) for event in rest] == [Step, Outcome]


async def test_a_finished_request_is_counted(engine: Engine) -> None:
    """Tokens, reason, and its times, which grow from the queue to the end."""
    engine.gate.open()
    outcome = await engine.submit(tokens=5).outcome()
    assert engine.value("prompt_tokens_total", backend="mock") == 1
    assert engine.value("generation_tokens_total", backend="mock") == 5
    assert engine.value("request_success_total", finished_reason="length", backend="mock") == 1
    for name in (
        "request_queue_time_seconds", "time_to_first_token_seconds", "request_prefill_time_seconds",
        "request_decode_time_seconds", "e2e_request_latency_seconds",
    ):  # fmt: skip
        assert engine.value(f"{name}_count", backend="mock") == 1
    assert engine.value("inter_token_latency_seconds_count", backend="mock") == 4
    assert 0 <= outcome.queued_s <= outcome.first_token_s <= outcome.total_s


async def test_rows_stand_at_zero_before_the_first_request(engine: Engine) -> None:
    """Or a rate would not see it."""
    value = engine.metrics.registry.get_sample_value
    assert value("llama_inference_generation_tokens_total", {"backend": "mock"}) == 0
    assert value("llama_inference_time_to_first_token_seconds_count", {"backend": "mock"}) == 0
    assert value("llama_inference_request_success_total", {"backend": "mock", "finished_reason": "length"}) == 0


async def test_the_engine_is_busy_while_a_request_runs(engine: Engine) -> None:
    """Not while it is idle, however many have run; the present request counts as well."""
    assert engine.value("busy_seconds_total") == 0
    ticket = engine.submit(tokens=1)
    await engine.running(1)
    await soon(lambda: engine.value("busy_seconds_total") > 0, "time passing")
    engine.gate.open()
    await ticket.outcome()
    await engine.idle()
    assert engine.value("busy_seconds_total") == engine.value("busy_seconds_total")


async def test_tokens_are_counted_by_the_callers_key(engine: Engine) -> None:
    """By its name, prompt and output apart; without a key there is no row."""
    engine.gate.open()
    generation = Generation(prompts=((1, 2),), max_tokens=5)
    await engine.lane.submit(generation, arrived=time.monotonic(), caller="alice").outcome()
    await engine.lane.submit(generation, arrived=time.monotonic()).outcome()
    assert engine.value("api_key_tokens_total", key="alice", kind="prompt") == 2
    assert engine.value("api_key_tokens_total", key="alice", kind="generation") == 3
    assert b"None" not in engine.metrics.text()
