"""Leadership by a Lease: one process acts, the others stand by.

As client-go does it: a candidate takes the Lease once it has seen no sign of life for the Lease's whole duration,
measured on its own clock, so that the clocks of machines need not agree; the leader stops acting well before that.
A Lease whose holder was a pod that is gone is taken at once: a pod that was uninstalled may have lost the right to
release its Lease before it ended.
"""

import asyncio
import logging
import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.resources import LEASE, POD
from llama_operator.errors import ClusterError, LeadershipLostError
from llama_operator.plan.observed import Object

log = logging.getLogger(__name__)

_RENEW: Final = 1 / 5
_GIVE_UP: Final = 2 / 3
"""Shares of the duration: how often the leader renews, and after how long without success it stops."""
_POD: Final = "_pod_"
"""Marks an identity as a pod's; no pod and no host has an underscore in its name."""


def identity(host: str, pod: str | None) -> str:
    """Return a name that no other process ever has; in a `pod` it begins with the pod's name, else with the host's."""
    return f"{pod}{_POD}{uuid4()}" if pod else f"{host}_{uuid4()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """Which Lease, who asks for it (a name that no other process ever has), and how long it holds unrenewed."""

    namespace: str
    name: str
    identity: str
    duration_seconds: float


class Leadership:
    """One candidate: `acquire`, then `hold` while acting, then `release`."""

    def __init__(self, cluster: Cluster, election: Election) -> None:
        self._cluster = cluster
        self._election = election
        self._lease: Object | None = None
        self._renewed_at = 0.0
        self._sign: tuple[str, str] | None = None
        self._sign_at = 0.0

    async def acquire(self) -> None:
        """Wait until this candidate leads; the API server may be away meanwhile."""
        while not await self._try_to_lead():  # noqa: ASYNC110  (the API server is asked, nobody could set an event)
            await asyncio.sleep(self._pause() * random.uniform(0.8, 1.2))  # noqa: S311  (not a secret)
        log.info("leading as %s", self._election.identity)

    async def hold(self) -> None:
        """Renew the Lease for as long as that works; never returns.

        Raises:
            LeadershipLostError: when another candidate may lead, or soon might.
        """
        now = asyncio.get_running_loop().time
        while (left := self._renewed_at + self._election.duration_seconds * _GIVE_UP - now()) > 0:
            pause = self._pause()
            await asyncio.sleep(min(pause, left))
            if pause < left:
                try:
                    async with asyncio.timeout(left - pause):
                        await self._renew()
                except ClusterError as error:
                    log.warning("the Lease is not renewed: %s", error)
                except TimeoutError:
                    log.warning("the Lease is not renewed: no answer in time")
        raise LeadershipLostError("the Lease could not be renewed in time")

    async def release(self) -> None:
        """Let the next candidate lead at once; without this it would wait for the whole duration."""
        if self._lease is None:
            return
        try:
            await self._cluster.replace(self._held(self._lease, {"holderIdentity": None, "leaseDurationSeconds": 1}))
        except ClusterError as error:
            log.warning("the Lease is not released: %s", error)
        self._lease = None

    def _pause(self) -> float:
        return self._election.duration_seconds * _RENEW

    async def _try_to_lead(self) -> bool:
        now = asyncio.get_running_loop().time()
        try:
            found = await self._cluster.get(LEASE, self._election.namespace, self._election.name)
            if found is None:
                self._lease = await self._cluster.create(self._new())
            elif self._is_free(found, now) or await self._is_orphaned(found):
                self._lease = await self._cluster.replace(self._taken(found))
            else:
                return False
        except ClusterError as error:
            if error.status != 409:  # somebody else was quicker
                log.warning("cannot ask for leadership: %s", error)
            return False
        self._renewed_at = now
        return True

    def _is_free(self, lease: Object, now: float) -> bool:
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity")
        if not holder:
            return True
        sign = (holder, spec.get("renewTime", ""))
        if sign != self._sign:
            if self._sign is None or self._sign[0] != holder:
                log.info("standing by: %s leads", holder)
            self._sign, self._sign_at = sign, now
        return now >= self._sign_at + spec.get("leaseDurationSeconds", self._election.duration_seconds)

    async def _is_orphaned(self, lease: Object) -> bool:
        """Whether the holder's pod is gone. The API server forgets a pod once its containers have ended.

        One that was deleted by force may live on for a moment: its next renewal finds another holder, and it stops.
        """
        pod, mark, _ = lease["spec"]["holderIdentity"].partition(_POD)
        try:
            if not mark or await self._cluster.get(POD, self._election.namespace, pod) is not None:
                return False
        except ClusterError as error:
            # The right to look may be missing where roles are kept by hand; the Lease runs out all the same.
            log.warning("cannot tell whether the leader's pod is there, and wait: %s", error)
            return False
        log.info("taking over from %s, which is gone", pod)
        return True

    async def _renew(self) -> None:
        if self._lease is None:
            raise LeadershipLostError("the Lease is not held")
        now = asyncio.get_running_loop().time()
        try:
            self._lease = await self._cluster.replace(self._held(self._lease, {}))
        except ClusterError as error:
            if error.status not in (404, 409):
                raise
            # Changed by somebody else, or by a request of ours whose answer never came.
            found = await self._cluster.get(LEASE, self._election.namespace, self._election.name)
            if found is None or found.get("spec", {}).get("holderIdentity") != self._election.identity:
                self._lease = None
                raise LeadershipLostError("the Lease has another holder") from error
            self._lease = await self._cluster.replace(self._held(found, {}))
        self._renewed_at = now

    def _new(self) -> dict[str, Any]:
        now, election = _now(), self._election
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": election.name, "namespace": election.namespace},
            "spec": {**self._mine(now), "acquireTime": now, "leaseTransitions": 0},
        }

    def _taken(self, lease: Object) -> Object:
        now = _now()
        transitions = lease.get("spec", {}).get("leaseTransitions", 0) + 1
        return {**lease, "spec": {**self._mine(now), "acquireTime": now, "leaseTransitions": transitions}}

    def _held(self, lease: Object, changes: dict[str, Any]) -> Object:
        return {**lease, "spec": {**lease["spec"], **self._mine(_now()), **changes}}

    def _mine(self, now: str) -> dict[str, Any]:
        seconds = math.ceil(self._election.duration_seconds)
        return {"holderIdentity": self._election.identity, "leaseDurationSeconds": seconds, "renewTime": now}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
