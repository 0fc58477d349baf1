"""The nodes of the cluster, read at most every few seconds however many ask."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.resources import NODE
from llama_operator.plan.observed import NodeOffer, Object
from llama_operator.plan.offers import offer

SECONDS: Final = 5.0
"""How old the list may be: it is the longest of all, and read only while somebody waits for a node.

While somebody waits for a node they are watched, and a change that counts has the list read anew at once.
"""


class Nodes:
    """The list of nodes, shared."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._found: tuple[NodeOffer, ...] = ()
        self._until = float("-inf")
        self._changes = 0
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Read them anew for whoever asks from now on: one of them has changed."""
        self._changes += 1
        self._until = float("-inf")

    async def list(self) -> tuple[NodeOffer, ...]:
        """Return all nodes.

        Raises:
            ClusterError: if they cannot be read.
        """
        async with self._lock:
            if self._clock() >= self._until:
                changes = self._changes
                self._found = tuple(map(offer, await self._cluster.list(NODE, part=_offered)))
                if changes == self._changes:  # else it may be from before the change
                    self._until = self._clock() + SECONDS
            return self._found


def _offered(node: Object) -> Object:
    """Keep what makes an offer: most of a node is about images that it holds and how it is."""
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    return {
        "metadata": {"name": metadata["name"], "labels": metadata.get("labels")},
        "spec": {"taints": spec.get("taints"), "unschedulable": spec.get("unschedulable")},
        "status": {"allocatable": status.get("allocatable")},
    }
