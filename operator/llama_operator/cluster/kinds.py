"""Which kinds of other projects the cluster knows: they come and go with their CustomResourceDefinitions."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.resources import OPTIONAL, Resource

SECONDS: Final = 10.0
"""How old the answer may be: an installed kind is noticed within this time."""


class Kinds:
    """The kinds that the API server serves, of those that a plan can do without; shared by all that ask."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._found: tuple[Resource, ...] = ()
        self._until = float("-inf")
        self._lock = asyncio.Lock()

    async def served(self) -> tuple[Resource, ...]:
        """Return those that are served.

        Raises:
            ClusterError: if the API server failed.
        """
        async with self._lock:
            if self._clock() >= self._until:
                answers = await asyncio.gather(*map(self._cluster.serves, OPTIONAL))
                self._found = tuple(kind for kind, there in zip(OPTIONAL, answers, strict=True) if there)
                self._until = self._clock() + SECONDS
            return self._found
