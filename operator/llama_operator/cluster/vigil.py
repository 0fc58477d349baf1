"""Watches on what LlamaDeployments wait for: open while one does, shared by all that do, each change wakes them.

Only a help: who waits looks again by itself as well, so that a watch that is refused or broken costs time alone.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final, Protocol

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.nodes import Nodes, offer
from llama_operator.cluster.resources import (
    CLAIM,
    LIMIT_RANGE,
    NODE,
    QUOTA,
    SECRET,
    STORAGE_CLASS,
    Resource,
)
from llama_operator.cluster.watching import Change
from llama_operator.errors import ClusterError
from llama_operator.plan.awaited import NOTHING, Awaited, AwaitedKind
from llama_operator.plan.observed import Key, Object

log = logging.getLogger(__name__)

GATHER_SECONDS: Final = 1.0
"""The least time between two wakes by one watch, so that nodes that come by the hundred are not as many looks."""
LEAST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
"""Waits before a watch that has ended is opened again; they double, and a half of each is left to chance."""
STEADY_SECONDS: Final = 30.0
"""A watch that has lasted so long has worked: its end is not one more failure."""
REFUSED_SECONDS: Final = 300.0
"""How long a right that is missing is taken to be missing."""
MOST: Final = 200
"""Watches at once; who would need one more is left to look again by itself."""
_FORBIDDEN: Final = frozenset({403, 404, 405})
_RESOURCES: Final[Mapping[AwaitedKind, Resource]] = {
    "Secret": SECRET,
    "Node": NODE,
    "ResourceQuota": QUOTA,
    "LimitRange": LIMIT_RANGE,
    "StorageClass": STORAGE_CLASS,
    "PersistentVolumeClaim": CLAIM,
}


class Wake(Protocol):
    """Whoever has a LlamaDeployment looked at."""

    def __call__(self, key: Key, after: float) -> None:
        """Look at `key` after so many seconds, or earlier."""
        ...


@dataclass(slots=True)
class _Watch:
    """One watch and who waits: `news_at` is when it last told something, `wakes_at` when it last wakes them for it."""

    keys: set[Key] = field(default_factory=set[Key])
    news_at: float = float("-inf")
    wakes_at: float = float("-inf")
    task: "asyncio.Task[None] | None" = None


class Vigil:
    """Who waits for what."""

    def __init__(self, cluster: Cluster, nodes: Nodes, *, least_seconds: float = LEAST_SECONDS) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._least = least_seconds
        self._watches: dict[Awaited, _Watch] = {}
        self._of: dict[Key, frozenset[Awaited]] = {}
        self._refused: set[AwaitedKind] = set()
        self._group: asyncio.TaskGroup | None = None
        self._wake: Wake = _nobody

    def awaits(self, key: Key, things: frozenset[Awaited] = NOTHING, since: float | None = None) -> None:
        """Say what `key` waits for from now on, instead of what it waited for before.

        Args:
            key: who waits.
            things: what for; nothing lets it go.
            since: when reading what it was judged by began, on the loop's clock: what changed after that is news to it.
        """
        for thing in self._of.pop(key, NOTHING) - things:
            self._leave(thing, key)
        kept = frozenset(thing for thing in things if self._joins(thing, key, since))
        if kept:
            self._of[key] = kept

    async def run(self, wake: Wake) -> None:
        """Keep the watches open and wake who waits; never returns."""
        self._wake = wake
        try:
            async with asyncio.TaskGroup() as self._group:
                for thing, watch in self._watches.items():
                    self._open(thing, watch)
                await asyncio.Event().wait()
        finally:
            self._group = None

    def __len__(self) -> int:
        return len(self._watches)

    def _joins(self, thing: Awaited, key: Key, since: float | None) -> bool:
        watch = self._watches.get(thing)
        if watch is None:
            if len(self._watches) >= MOST:
                return False
            watch = self._watches[thing] = _Watch()
            self._open(thing, watch)
        if key not in watch.keys:
            watch.keys.add(key)
            if since is not None and watch.news_at >= since:
                self._wake(key, 0.0)
        return True

    def _leave(self, thing: Awaited, key: Key) -> None:
        watch = self._watches[thing]
        watch.keys.discard(key)
        if not watch.keys:
            del self._watches[thing]
            if watch.task is not None:
                watch.task.cancel()

    def _open(self, thing: Awaited, watch: _Watch) -> None:
        if self._group is not None:
            # In a context of its own: what it logs is not about the one who waits first.
            watch.task = self._group.create_task(self._hold(thing, watch), name=f"watch {thing}", context=Context())

    async def _hold(self, thing: Awaited, watch: _Watch) -> None:
        """Watch, again and again: a watch ends by itself, and is not the only one to end it."""
        failures = 0
        while True:
            begun = _now()
            try:
                await self._watch(thing, watch)
                status = None
            except ClusterError as error:
                status = error.status
                self._tell(thing, error)
            except Exception:  # a watch is only a help, and none is worth the process
                status = None
                log.exception("watching %s failed unexpectedly", thing)
            failures = 1 if _now() - begun >= STEADY_SECONDS else failures + 1
            await asyncio.sleep(self._pause(status, failures))

    async def _watch(self, thing: Awaited, watch: _Watch) -> None:
        async with self._cluster.watch(_RESOURCES[thing.kind], thing.namespace or None, thing.name) as changes:
            # Of what changed between the look of those who wait and now, no watch tells: once more they look.
            self._news(thing, watch)
            known: dict[str, object] = {}
            async for change in changes:
                if _is_news(change, known):
                    self._news(thing, watch)

    def _news(self, thing: Awaited, watch: _Watch) -> None:
        now = watch.news_at = _now()
        if thing.kind == "Node":
            self._nodes.forget()
        if watch.wakes_at < now:
            watch.wakes_at = max(now, watch.wakes_at + GATHER_SECONDS)
        log.debug("%s: news for %d who wait", thing, len(watch.keys))
        for key in watch.keys:
            self._wake(key, watch.wakes_at - now)

    def _pause(self, status: int | None, failures: int) -> float:
        pause = min(LONGEST_SECONDS, self._least * 2.0 ** min(failures - 1, 30))
        return (REFUSED_SECONDS if status in _FORBIDDEN else pause) * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)

    def _tell(self, thing: Awaited, error: ClusterError) -> None:
        if error.status in _FORBIDDEN and thing.kind not in self._refused:
            self._refused.add(thing.kind)
            log.info("%ss are not watched, and looked at now and then instead: %s", thing.kind, error)
        else:
            log.debug("%s", error)


def _nobody(key: Key, after: float) -> None:
    """Wake nobody: nothing is watched yet."""


def _now() -> float:
    return asyncio.get_running_loop().time()


def _is_news(change: Change, known: dict[str, object]) -> bool:
    """Whether what counts of an object has changed; `known` is that of each one."""
    name = change.obj["metadata"]["name"]
    if change.type == "DELETED":
        known.pop(name, None)
        return True
    before, now = known.get(name), _counts(change.obj)
    known[name] = now
    return before != now


def _counts(obj: Object) -> object:
    """Return what preflight judges by: kubelets write their nodes all the time, and each pod a quota's status."""
    match obj["kind"]:
        case "Node":
            return offer(obj)
        case "ResourceQuota" | "LimitRange":
            return obj["spec"]
        case "StorageClass":
            return obj["metadata"].get("annotations") or {}  # one of them makes it the default
        case _:
            return obj["metadata"]["resourceVersion"]
