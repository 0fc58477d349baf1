"""The keeper: one task that does what `decide` says by itself, reading and writing the Lease and knocking at pods.

However many requests wait, it alone acts for them: a thousand callers wake a model once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.resources import LEASE
from llama_operator.errors import ClusterError
from llama_operator.gateway import decide
from llama_operator.gateway.decide import Step
from llama_operator.gateway.gate import Gate
from llama_operator.gateway.metrics import Metrics
from llama_operator.plan import activity
from llama_operator.plan.observed import Object

log = logging.getLogger(__name__)

Knock = Callable[[], Awaitable[bool]]
"""Whether a pod takes a connection."""

_ANSWER_SECONDS: Final = 3.0
_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Which Lease, and by which name this gateway signs."""

    namespace: str
    lease: str
    name: str


class Keeper:
    """Keeps a gate's knowledge fresh for as long as `run` runs."""

    def __init__(self, cluster: Cluster, post: Post, knock: Knock, gate: Gate, metrics: Metrics) -> None:
        self._cluster = cluster
        self._post = post
        self._knock = knock
        self._gate = gate
        self._metrics = metrics
        self._lease: Object | None = None

    @property
    def informed(self) -> bool:
        """Whether it has been told about the model, or that nobody can tell."""
        return self._gate.mind.known is not None or self._gate.mind.blind

    async def run(self) -> None:
        """Act for ever."""
        while True:
            self._gate.news.clear()
            step, at = decide.next_step(self._gate.mind, _now(), self._gate.limits)
            if step is Step.WAIT:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(at):
                        await self._gate.news.wait()
            elif step is Step.KNOCK:
                answered = await self._knock()
                self._gate.learn(decide.knocked(self._gate.mind, _now(), answered=answered))
            else:
                await self._agree(step)

    async def _agree(self, step: Step) -> None:
        """Read the Lease, or write on it."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                if step is Step.READ or self._lease is None:
                    await self._read()
                else:
                    await self._write(self._lease, wanted=step is Step.RENEW)
        except (ClusterError, TimeoutError) as error:
            if not isinstance(error, ClusterError) or error.status != _CONFLICT:
                log.warning("the Lease %s cannot be asked: %s", self._post.lease, str(error) or "no answer in time")
                self._gate.learn(decide.failed(self._gate.mind, _now()))
            self._lease = None  # somebody else was quicker, or an answer was lost: it is read anew

    async def _read(self) -> None:
        found = await self._cluster.get(LEASE, self._post.namespace, self._post.lease)
        if found is None:
            raise ClusterError("it is not there; the operator makes it")
        self._lease = found
        limit = self._gate.limits.idle_seconds * decide.TRUST
        age = min(max(0.0, activity.age(found, datetime.now(UTC))), limit)
        self._gate.learn(decide.saw(self._gate.mind, activity.read(found), _now(), age=age))

    async def _write(self, lease: Object, *, wanted: bool) -> None:
        asked_at = _now()
        if not wanted:
            # Nothing goes through on an older word while this one is on its way.
            self._gate.learn(replace(self._gate.mind, renewed_at=float("-inf")))
        word = activity.written(lease, wanted=wanted, by=self._post.name, now=datetime.now(UTC))
        self._lease = await self._cluster.replace(word)
        self._count(activity.read(lease), wanted=wanted)
        self._gate.learn(decide.renewed(self._gate.mind, activity.read(self._lease), asked_at, _now()))

    def _count(self, before: activity.Activity, *, wanted: bool) -> None:
        if wanted and not before.wanted:
            self._metrics.wakes.inc()
            log.info("waking the model")
        elif not wanted and before.wanted:
            self._metrics.sleeps.inc()
            log.info("no request for %g s: the model may sleep", self._gate.limits.idle_seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()
