"""Ask pods that are not ready for their start-up report; a pod that does not answer in time has none.

The report comes from an image that a LlamaDeployment chose, so it is checked and cut down to the known fields here.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Annotated, Any, Final, Literal, Protocol

import aiohttp
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from llama_operator.names import CONTAINER_PORT
from llama_operator.plan.observed import Object

log = logging.getLogger(__name__)

_AT_ONCE: Final = 16
_MOST_BYTES: Final = 64 * 1024

_Amount = Annotated[float, Field(ge=0, le=2**53, allow_inf_nan=False)]
_Bytes = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Word = Annotated[str, Field(max_length=253)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Stage(_Part):
    name: Literal["Environment", "Resolve", "Download", "Load", "WarmUp", "Golden"]
    state: Literal["pending", "running", "done", "failed"]
    started: Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))] | None = None
    seconds: _Amount | None = None
    bytes_done: _Bytes | None = None
    bytes_total: _Bytes | None = None
    bytes_per_second: _Amount | None = None
    eta_seconds: _Amount | None = None
    idle_seconds: _Amount | None = None


class _Failure(_Part):
    reason: _Word
    message: Annotated[str, Field(max_length=4096)] = ""
    attempt: int | None = None
    retry_in_seconds: _Amount | None = None


class _Report(_Part):
    stage: _Word | None = None
    ready: bool = False
    model: _Word | None = None
    revision: _Word | None = None
    commit: _Word | None = None
    stages: Annotated[list[_Stage], Field(max_length=5)] = []
    error: _Failure | None = None


class StartupReports(Protocol):
    """Whoever knows how far pods have come."""

    async def of(self, pods: Sequence[Object]) -> Mapping[str, Object]:
        """Return the report of each pod that has one, by pod name; never raises."""
        ...


def parse(answer: bytes) -> dict[str, Any]:
    """Return the known fields of a start-up report.

    Raises:
        ValidationError: if it is none.
    """
    return _Report.model_validate_json(answer).model_dump(mode="json", exclude_none=True)


class PodStartupReports:
    """`StartupReports` over HTTP; a pod has `timeout_seconds` to answer."""

    def __init__(self, session: aiohttp.ClientSession, *, port: int) -> None:
        self.timeout_seconds = 2.0
        self._session = session
        self._port = port
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def of(self, pods: Sequence[Object]) -> Mapping[str, Object]:
        """Ask all pods at once, as far as slots are free."""
        reports = await asyncio.gather(*map(self._one, pods))
        return {pod["metadata"]["name"]: found for pod, found in zip(pods, reports, strict=True) if found is not None}

    async def _one(self, pod: Object) -> Object | None:
        address = pod["status"]["podIP"]
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{self._port}/startupz"
        timeout = aiohttp.ClientTimeout(total=self.timeout_seconds)
        try:
            async with self._slots, self._session.get(url, timeout=timeout, allow_redirects=False) as answer:
                return parse(await _body(answer))
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            log.debug("pod %s has no start-up report: %s", pod["metadata"]["name"], type(error).__name__)
            return None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            break  # cut off, so no JSON
    return body


@asynccontextmanager
async def reports_over_http(*, port: int = CONTAINER_PORT) -> AsyncGenerator[PodStartupReports]:
    """Open the connections to pods, and close them at the end."""
    # Pods are reached directly: a proxy for the outside world does not know their addresses.
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield PodStartupReports(session, port=port)
