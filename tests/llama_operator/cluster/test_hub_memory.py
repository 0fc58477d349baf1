"""Many looks at a LlamaDeployment are one question to its Hub, and a slow Hub holds up nobody."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from llama_operator.cluster.hub import HubQuery
from llama_operator.cluster.hub_memory import FACT_SECONDS, LONGEST_SECONDS, PATIENCE_SECONDS, HubMemory, remembering
from llama_operator.plan.survey import HubRefusal, ModelFact, ModelShape
from tests.support.virtual_time import in_virtual_time, now

FACT = ModelFact(
    commit="c" * 40, gated=False, licence=None, parameters={}, weight_bytes=0, total_bytes=0, shape=ModelShape()
)
REFUSAL = HubRefusal(reason="TokenRejected", words="no")


class Hub:
    """Answers after so many seconds, and keeps when it was asked what."""

    def __init__(self, answer: ModelFact | HubRefusal | Exception = FACT, seconds: float = 0.0) -> None:
        self.answer = answer
        self.seconds = seconds
        self.asked: list[float] = []
        self.most_at_once = 0
        self._running = 0

    async def ask(self, query: HubQuery) -> ModelFact | HubRefusal:
        """Take the time, then answer."""
        self.asked.append(now())
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self._running -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def a_query(token: str | None = None, repo: str = "acme/llama") -> HubQuery:
    """A question."""
    return HubQuery(
        endpoint="http://hub", repo=repo, revision="main", token=SecretStr(token) if token is not None else None
    )


@in_virtual_time
async def test_a_fact_is_asked_for_once_and_again_when_it_is_old() -> None:
    """Reconciles come every few seconds; a branch does not move as often."""
    hub = Hub()
    async with remembering(hub) as memory:
        for _ in range(5):
            assert await memory.of(a_query()) == FACT
        await asyncio.sleep(FACT_SECONDS)
        hub.answer = REFUSAL
        assert await memory.of(a_query()) == REFUSAL
    assert hub.asked == [0, FACT_SECONDS]


@in_virtual_time
async def test_a_refusal_is_tried_again_with_growing_pauses() -> None:
    """Two seconds, doubling to a minute, for as long as somebody looks."""
    hub = Hub(REFUSAL)
    async with remembering(hub) as memory:
        while now() < 300:
            assert await memory.of(a_query("hf_wrong")) == REFUSAL
            await asyncio.sleep(1)
    pauses = [after - before for before, after in zip(hub.asked, hub.asked[1:], strict=False)]
    assert pauses == [2, 4, 8, 16, 32, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]


@in_virtual_time
async def test_a_hub_is_left_alone_for_as_long_as_it_said_and_the_time_is_told() -> None:
    """Asking earlier would only lengthen the limit; whoever reads the status knows when it goes on."""
    hub = Hub(HubRefusal(reason="HubRateLimited", words="status 429", retry_after=90))
    memory = HubMemory(hub, now=lambda: datetime(2026, 11, 24, 8, 0, tzinfo=UTC) + timedelta(seconds=now()))
    said: dict[str, float] = {}
    while now() < 200:
        found = await memory.of(a_query())
        assert isinstance(found, HubRefusal)
        said.setdefault(found.words, now())
        await asyncio.sleep(1)
    assert hub.asked == [0, 90, 180]
    assert said == {
        "status 429, so it is asked again at 08:01:30 UTC": 0,
        "status 429, so it is asked again at 08:03:00 UTC": 90,
        "status 429, so it is asked again at 08:04:30 UTC": 180,
    }


@in_virtual_time
async def test_another_token_is_asked_about_at_once() -> None:
    """Whoever corrects the Secret does not wait out the pauses of the wrong one."""
    hub = Hub(REFUSAL)
    async with remembering(hub) as memory:
        assert await memory.of(a_query("hf_wrong")) == REFUSAL
        hub.answer = FACT
        assert await memory.of(a_query("hf_right")) == FACT
        assert await memory.of(a_query("hf_wrong")) == REFUSAL
    assert hub.asked == [0, 0]


@in_virtual_time
async def test_whoever_asks_a_slow_hub_goes_on_without_its_answer() -> None:
    """The first waits a moment, the others not at all, and the answer is there once it has come."""
    hub = Hub(seconds=30)
    async with remembering(hub) as memory:
        assert await memory.of(a_query()) is None
        assert now() == PATIENCE_SECONDS
        assert await memory.of(a_query()) is None
        assert now() == PATIENCE_SECONDS
        await asyncio.sleep(30)
        assert await memory.of(a_query()) == FACT
    assert hub.asked == [0]


@in_virtual_time
async def test_a_refusal_stands_while_it_is_checked_again() -> None:
    """A condition does not flicker between a reason and `being asked`."""
    hub = Hub(REFUSAL)
    async with remembering(hub) as memory:
        await memory.of(a_query())
        await asyncio.sleep(2)
        hub.seconds, hub.answer = 30, FACT
        assert await memory.of(a_query()) == REFUSAL
        await asyncio.sleep(30)
        assert await memory.of(a_query()) == FACT


@in_virtual_time
async def test_hubs_are_asked_a_few_at_a_time() -> None:
    """A restart with a hundred LlamaDeployments is no flood."""
    hub = Hub(seconds=1)
    async with remembering(hub) as memory:
        await asyncio.gather(*(memory.of(a_query(repo=f"acme/{number}")) for number in range(40)))
        await asyncio.sleep(10)
    assert len(hub.asked) == 40
    assert hub.most_at_once == 8


@in_virtual_time
async def test_a_fault_of_ours_is_an_error_and_not_an_answer() -> None:
    """It reaches the queue, which logs it and tries again, and is not kept."""
    hub = Hub(ZeroDivisionError())
    async with remembering(hub) as memory:
        with pytest.raises(ZeroDivisionError):
            await memory.of(a_query())
        hub.answer = FACT
        assert await memory.of(a_query()) == FACT


@in_virtual_time
async def test_tokens_are_not_kept() -> None:
    """Only what tells one from another is."""
    async with remembering(Hub()) as memory:
        await memory.of(a_query("hf_secret"))
        assert "hf_secret" not in _everything(memory)


def _everything(memory: HubMemory) -> str:
    return repr(list(memory._entries.items()))  # pyright: ignore[reportPrivateUsage] - what is kept is the point


@in_virtual_time
async def test_closing_ends_what_is_being_asked() -> None:
    """The process ends in time."""
    async with remembering(Hub(seconds=3600)) as memory:
        assert await memory.of(a_query()) is None
    assert now() == PATIENCE_SECONDS
