"""What Hubs have answered, for a while, so that many looks at a LlamaDeployment are one question to its Hub.

Asking goes on in the background: a Hub that is slow holds up nobody who waits for something else.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from llama_operator.cluster.hub import HubQuery
from llama_operator.plan.survey import HubAnswer, HubRefusal, ModelFact

log = logging.getLogger(__name__)

FACT_SECONDS: Final = 300.0
"""How long a fact holds: as long may a branch have moved on without its being noticed before a first pod."""
FIRST_SECONDS, LONGEST_SECONDS = 2.0, 60.0
"""Waits before a Hub that refused is asked again; they double, and are longer where it wants to be left alone.

Another token is another question, asked at once.
"""
PATIENCE_SECONDS: Final = 2.0
"""How long whoever begins to ask waits for the answer before going on without it."""
_AT_ONCE: Final = 8
_MOST_ENTRIES: Final = 1000

_Identity = tuple[str, str, str, str]


class Asks(Protocol):
    """Whoever can ask a Hub."""

    async def ask(self, query: HubQuery) -> ModelFact | HubRefusal:
        """Return the facts, or why there are none."""
        ...


@dataclass(slots=True)
class _Entry:
    answer: HubAnswer = None
    until: float = float("-inf")
    refusals: int = 0
    asking: "asyncio.Task[ModelFact | HubRefusal] | None" = None


class HubMemory:
    """Answers by question; a token is kept as a digest only."""

    def __init__(
        self,
        hub: Asks,
        *,
        clock: Callable[[], float] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._hub = hub
        self._now = now
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._patience = patience_seconds
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._entries: OrderedDict[_Identity, _Entry] = OrderedDict()

    async def of(self, query: HubQuery) -> HubAnswer:
        """Return what the Hub says; None while it is being asked for the first time, or anew after a long time."""
        entry = self._entry(query)
        self._settle(entry)
        if entry.asking is None and self._clock() >= entry.until:
            if isinstance(entry.answer, ModelFact):
                entry.answer = None  # an old fact is none; an old refusal stands until there is something newer
            entry.asking = asyncio.create_task(self._ask(query))
            await asyncio.wait({entry.asking}, timeout=self._patience)
            self._settle(entry)
        return entry.answer

    def _settle(self, entry: _Entry) -> None:
        """Take over the answer, if it is there."""
        if entry.asking is None or not entry.asking.done():
            return
        asked, entry.asking = entry.asking, None
        entry.answer = asked.result()
        if isinstance(entry.answer, ModelFact):
            entry.refusals, entry.until = 0, self._clock() + FACT_SECONDS
        else:
            wait = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(entry.refusals, 30))
            if entry.answer.retry_after is not None:
                wait = max(wait, entry.answer.retry_after)
                at = (self._now() + timedelta(seconds=wait)).strftime("%H:%M:%S")
                entry.answer = replace(entry.answer, words=f"{entry.answer.words}, so it is asked again at {at} UTC")
            entry.refusals, entry.until = entry.refusals + 1, self._clock() + wait

    async def _ask(self, query: HubQuery) -> ModelFact | HubRefusal:
        async with self._slots:
            return await self._hub.ask(query)

    def _entry(self, query: HubQuery) -> _Entry:
        identity = _identity(query)
        entry = self._entries.setdefault(identity, _Entry())
        self._entries.move_to_end(identity)
        if len(self._entries) > _MOST_ENTRIES:
            _, oldest = self._entries.popitem(last=False)
            if oldest.asking is not None:
                oldest.asking.cancel()
        return entry

    async def close(self) -> None:
        """End what is being asked."""
        asking = [entry.asking for entry in self._entries.values() if entry.asking is not None]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def _identity(query: HubQuery) -> _Identity:
    token = query.token.get_secret_value() if query.token else ""
    return query.endpoint, query.repo, query.revision, hashlib.sha256(token.encode()).hexdigest()


@asynccontextmanager
async def remembering(hub: Asks) -> AsyncGenerator[HubMemory]:
    """Open a memory, and end what is being asked at the end."""
    memory = HubMemory(hub)
    try:
        yield memory
    finally:
        await memory.close()
