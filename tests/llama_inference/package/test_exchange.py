"""Requests under way to a package: the bound, and how each is ended."""

import asyncio
import time

import pytest

from llama_inference.errors import AbandonedError, DeadlineError, QueueFullError, UnavailableError
from llama_inference.metrics import Metrics
from llama_inference.package.exchange import Exchanges
from llama_inference.package.upstream import passed_on
from tests.llama_inference.harness import soon


def exchanges(concurrency: int = 1, max_queue: int = 1) -> Exchanges:
    """Fresh ones."""
    return Exchanges(concurrency=concurrency, max_queue=max_queue, metrics=Metrics())


async def test_as_many_come_in_as_run_and_wait() -> None:
    """The next is refused, until one has ended."""
    under_way = exchanges(concurrency=2, max_queue=1)
    taken = [under_way.take(arrived=time.monotonic()) for _ in range(3)]
    with pytest.raises(QueueFullError, match="1 requests wait already") as refused:
        under_way.take(arrived=time.monotonic())
    assert refused.value.retry_after is not None
    taken[0].finish()
    under_way.take(arrived=time.monotonic())


async def test_a_deadline_ends_what_is_under_way() -> None:
    """The work is cancelled, and its reason is told."""
    exchange = exchanges().take(arrived=time.monotonic(), deadline=time.monotonic() + 0.01)
    with pytest.raises(DeadlineError):
        await exchange.run(asyncio.Event().wait())
    exchange.finish()


async def test_the_first_reason_counts() -> None:
    """What follows is its effect."""
    exchange = exchanges().take(arrived=time.monotonic())
    exchange.hang_up()
    exchange.end(UnavailableError("later"))
    with pytest.raises(AbandonedError):
        await exchange.run(asyncio.sleep(0))
    exchange.finish()


async def test_a_drain_waits_for_the_last() -> None:
    """And no longer."""
    under_way = exchanges()
    exchange = under_way.take(arrived=time.monotonic())
    drained = asyncio.create_task(under_way.drained())
    await asyncio.sleep(0)
    assert not drained.done()
    exchange.finish()
    await soon(drained.done, "drained")


async def test_all_can_be_ended_at_once() -> None:
    """Where a drain takes too long."""
    under_way = exchanges()
    exchange = under_way.take(arrived=time.monotonic())
    working = asyncio.create_task(exchange.run(asyncio.Event().wait()))
    await asyncio.sleep(0)
    under_way.fail_all(UnavailableError("this replica shut down"))
    with pytest.raises(UnavailableError, match="shut down"):
        await working
    exchange.finish()


def test_headers_of_one_connection_are_not_passed_on() -> None:
    """Nor those that Connection names, nor what is left out on purpose."""
    given = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"te", b"trailers"),
        (b"x-mine", b"2"),
        (b"date", b"3"),
    ]
    assert passed_on(given, without=frozenset({b"date"})) == [(b"x-mine", b"2")]
