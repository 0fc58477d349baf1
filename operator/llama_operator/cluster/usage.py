"""What the servers in pods have done so far, from their metrics: seconds with a request, tokens generated."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import aiohttp

from llama_operator.names import CONTAINER_PORT
from llama_operator.plan.observed import Object, Usage

log = logging.getLogger(__name__)

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)
_AT_ONCE: Final = 16
_MOST_BYTES: Final = 1024 * 1024
_BUSY: Final = "llama_inference_busy_seconds_total"
_TOKENS: Final = "llama_inference_generation_tokens_total"


class Usages(Protocol):
    """Whoever knows what pods have done."""

    async def of(self, pods: Sequence[Object]) -> Mapping[str, Usage]:
        """Return what each pod that answers has done, by pod name; never raises."""
        ...


class PodUsages:
    """`Usages` over HTTP, by the connections of `session`."""

    def __init__(self, session: aiohttp.ClientSession, *, port: int) -> None:
        self._session = session
        self._port = port
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def of(self, pods: Sequence[Object]) -> Mapping[str, Usage]:
        """Ask all pods at once, as far as slots are free."""
        found = await asyncio.gather(*map(self._one, pods))
        return {pod["metadata"]["name"]: usage for pod, usage in zip(pods, found, strict=True) if usage is not None}

    async def _one(self, pod: Object) -> Usage | None:
        address = pod["status"]["podIP"]
        url = f"http://[{address}]:{self._port}" if ":" in address else f"http://{address}:{self._port}"
        try:
            async with (
                self._slots,
                self._session.get(f"{url}/metrics", timeout=_TIMEOUT, allow_redirects=False) as answer,
            ):
                text = (await answer.content.read(_MOST_BYTES)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.debug("pod %s does not tell its usage: %s", pod["metadata"]["name"], type(error).__name__)
            return None
        return parse(text)


def parse(text: str) -> Usage | None:
    """Return what metrics in Prometheus' text format say; None where they do not count busy seconds."""
    busy, tokens = _sum(text, _BUSY), _sum(text, _TOKENS)
    return None if busy is None else Usage(busy_seconds=busy, tokens=tokens or 0.0)


def _sum(text: str, name: str) -> float | None:
    """Return the sum of a metric's samples, whatever their labels; the pod is not trusted to write numbers."""
    found: list[float] = []
    for line in text.splitlines():
        if line.startswith((f"{name} ", f"{name}{{")):
            try:
                value = float(line.rpartition("}")[2].removeprefix(name).split()[0])
            except (ValueError, IndexError):
                continue
            if math.isfinite(value) and value >= 0:
                found.append(value)
    return sum(found) if found else None


@asynccontextmanager
async def usages_over_http(*, port: int = CONTAINER_PORT) -> AsyncGenerator[PodUsages]:
    """Open the connections to pods, and close them at the end."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield PodUsages(session, port=port)
