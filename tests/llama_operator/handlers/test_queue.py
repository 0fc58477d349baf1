"""The queue at work: one key in flight once, failures that delay nobody, and the way down."""

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import pytest

from llama_operator.errors import ClusterError
from llama_operator.handlers.metrics import Metrics
from llama_operator.handlers.queue import Queue
from llama_operator.handlers.schedule import Backoff
from llama_operator.plan.observed import Key
from tests.support.virtual_time import in_virtual_time, now

A, B, C = (Key("models", name) for name in "abc")


def a_queue(work: Callable[[Key], Awaitable[float | None]], *, workers: int = 2, deadline: float = 100) -> Queue:
    """A queue with a backoff from 1 to 8 seconds."""
    backoff = Backoff(least=1, most=8)
    return Queue(work, backoff=backoff, workers=workers, deadline_seconds=deadline, metrics=Metrics())


async def run_for(seconds: float, queue: Queue, wakes: Iterable[Key] = ()) -> None:
    """Wake keys, let the queue work for so long, and stop it."""
    running = asyncio.create_task(queue.run())
    for key in wakes:
        queue.wake(key)
    await asyncio.sleep(seconds)
    queue.stop()
    await running


@in_virtual_time
async def test_a_key_woken_often_is_worked_on_once() -> None:
    """Ten events that came together are one look."""
    seen: Counter[Key] = Counter()

    async def work(key: Key) -> None:
        seen[key] += 1

    await run_for(10, a_queue(work), [A] * 10 + [B])
    assert seen == {A: 1, B: 1}


@in_virtual_time
async def test_a_key_is_in_flight_at_most_once() -> None:
    """Woken while it is worked on, it runs once more afterwards, though workers are idle."""
    in_flight: Counter[Key] = Counter()
    most: Counter[Key] = Counter()
    runs: Counter[Key] = Counter()

    async def work(key: Key) -> None:
        in_flight[key] += 1
        most[key] = max(most[key], in_flight[key])
        if not runs[key]:
            for _ in range(5):
                queue.wake(key)
        runs[key] += 1
        await asyncio.sleep(3)
        in_flight[key] -= 1

    queue = a_queue(work, workers=4)
    await run_for(20, queue, [A, B])
    assert most == {A: 1, B: 1}
    assert runs == {A: 2, B: 2}


@in_virtual_time
async def test_keys_are_worked_on_at_the_same_time() -> None:
    """As many as there are workers."""
    ends: list[float] = []

    async def work(_: Key) -> None:
        await asyncio.sleep(3)
        ends.append(now())

    await run_for(10, a_queue(work), [A, B, C])
    assert ends == [3, 3, 6]


@pytest.mark.parametrize("error", [RuntimeError("a fault"), ClusterError("away", status=500), ValueError("x")])
def test_a_poisoned_key_starves_nobody(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again with growing pauses; the others get their turn at once, also with one worker."""

    @in_virtual_time
    async def scenario() -> None:
        tries: list[float] = []
        served: list[float] = []

        async def work(key: Key) -> float:
            if key == A:
                tries.append(now())
                raise error
            served.append(now())
            return 1.0

        await run_for(60, a_queue(work, workers=1), [A, B])
        pauses = [after - before for before, after in itertools.pairwise(tries)]
        assert 8 <= len(tries) <= 18
        assert max(pauses) <= 8
        assert min(pauses[3:]) >= 4
        assert len(served) >= 59

    scenario()
    assert str(error) in caplog.text


def test_a_key_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """After the deadline it is tried again, and its worker is free for others."""
    starts: list[tuple[float, Key]] = []

    @in_virtual_time
    async def scenario() -> None:
        async def work(key: Key) -> None:
            starts.append((now(), key))
            if key == A:
                await asyncio.Event().wait()

        await run_for(5.1, a_queue(work, workers=1, deadline=5), [A, B])

    scenario()
    assert starts == [(0, A), (5, B)]
    assert "it took too long" in caplog.text


@in_virtual_time
async def test_work_may_ask_for_another_look() -> None:
    """Progress sends no event of its own."""
    looks: list[float] = []

    async def work(_: Key) -> float | None:
        looks.append(now())
        return 2.0 if len(looks) < 3 else None

    await run_for(60, a_queue(work), [A])
    assert looks == [0, 2, 4]


@in_virtual_time
async def test_waking_later_waits() -> None:
    """A resync spreads its keys; an idle worker notices a key that is due earlier."""
    looks: list[tuple[float, Key]] = []

    async def work(key: Key) -> None:
        looks.append((now(), key))

    queue = a_queue(work, workers=1)
    queue.wake(A, after=10)
    running = asyncio.create_task(queue.run())
    await asyncio.sleep(1)
    queue.wake(B, after=2)
    await asyncio.sleep(20)
    queue.stop()
    await running
    assert looks == [(3, B), (10, A)]


@in_virtual_time
async def test_stopping_finishes_what_is_in_flight_and_begins_nothing() -> None:
    """What waits is found again by the next process."""
    began: list[Key] = []
    ended: list[Key] = []

    async def work(key: Key) -> None:
        began.append(key)
        await asyncio.sleep(5)
        ended.append(key)

    await run_for(1, a_queue(work), [A, B, C])
    assert began == ended == [A, B]
    assert now() == 5


def outcome(error: Exception | None, caplog: pytest.LogCaptureFixture) -> tuple[str, list[str]]:
    """The metrics after one look that ended so, and the levels that were logged."""
    metrics = Metrics()

    @in_virtual_time
    async def scenario() -> None:
        async def work(_: Key) -> None:
            if error is not None:
                raise error

        queue = Queue(work, backoff=Backoff(least=99, most=99), workers=1, deadline_seconds=9, metrics=metrics)
        await run_for(1, queue, [A])

    with caplog.at_level(logging.DEBUG, "llama_operator"):
        scenario()
    return metrics.text().decode(), [record.levelname for record in caplog.records if "llama" in record.name]


@pytest.mark.parametrize(
    ("error", "result", "levels"),
    [
        (None, "ok", []),
        (ClusterError("changed", status=409), "conflict", ["DEBUG"]),
        (ClusterError("away"), "failed", ["WARNING"]),
        (TimeoutError(), "failed", ["WARNING"]),
        (KeyError("x"), "failed", ["ERROR"]),
    ],
)
def test_each_look_is_counted_and_told_as_it_ended(
    error: Exception | None, result: str, levels: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A conflict is everyday, a failure a warning, a fault of ours an error with its traceback."""
    text, logged = outcome(error, caplog)
    assert f'llama_operator_reconciles_total{{result="{result}"}} 1.0' in text
    assert "llama_operator_reconcile_seconds_count 1.0" in text
    assert logged == levels
    assert bool([record for record in caplog.records if record.exc_info]) == (levels == ["ERROR"])
