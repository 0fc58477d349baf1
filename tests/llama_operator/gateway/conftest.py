"""A gateway on real ports, with pods that come and go and a Lease in memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from llama_operator import names
from llama_operator.gateway.process import serving
from llama_operator.gateway.settings import Settings
from llama_operator.plan import activity
from llama_operator.plan.activity import Pods
from tests.support.fake_cluster import FakeCluster

LEASE = "llama-activity"


@dataclass
class Model:
    """The pods behind a gateway: a server that answers while it runs, and tells what it was asked."""

    port: int = field(default_factory=unused_port)
    asked: list[bytes] = field(default_factory=list[bytes])
    handler: Any = None
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Let pods answer."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Let there be none."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/readyz":
            return web.Response()
        self.asked.append(await request.read())
        return await self.handler(request) if self.handler else web.Response(body=self.asked[-1])


@dataclass
class Stand:
    """A gateway under test, its pods, its Lease, and a client."""

    model: Model
    cluster: FakeCluster
    settings: Settings
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Where callers ask."""
        return f"http://127.0.0.1:{self.settings.port}/predict"

    @property
    def lease(self) -> activity.Activity:
        """What the Lease says."""
        return activity.read(self.cluster.stored("Lease")[0])

    def say(self, pods: Pods) -> None:
        """Write the operator's word on the Lease."""
        (lease,) = self.cluster.stored("Lease")
        lease["metadata"]["annotations"][names.ANNOTATION_PODS] = pods
        self.cluster.put(lease)

    async def operator(self) -> None:
        """Wake the model as soon as it is wanted."""
        await until(lambda: self.lease.wanted)
        self.say(Pods.AWAKE)
        await self.model.start()

    async def metric(self, name: str) -> float:
        """A number of the gateway's metrics, with its labels as they are written."""
        async with self.session.get(f"http://127.0.0.1:{self.settings.admin_port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    async def reaches(self, name: str, value: float) -> None:
        """Return when a number of the gateway's metrics is this one."""
        async with asyncio.timeout(20):
            while await self.metric(name) != value:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def until(probe: Any) -> None:
    """Return when `probe()` holds, which something else brings about."""
    async with asyncio.timeout(20):
        while not probe():  # noqa: ASYNC110  (what is waited for is somebody else's)
            await asyncio.sleep(0.005)


def a_lease(pods: Pods, *, wanted: bool, startup: str = "42.0") -> dict[str, Any]:
    """The Lease of a model that may sleep."""
    said = {
        names.ANNOTATION_PODS: pods,
        names.ANNOTATION_WANTED: "true" if wanted else "false",
        names.ANNOTATION_STARTUP: startup,
    }
    metadata = {"name": LEASE, "namespace": "team", "annotations": said}
    return {"apiVersion": activity.API_VERSION, "kind": activity.KIND, "metadata": metadata}


class Stands:
    """Starts gateways."""

    @asynccontextmanager
    async def _with(
        self, lease: dict[str, Any], changes: dict[str, Any], *, pods: bool = False
    ) -> AsyncGenerator[Stand]:
        model, cluster = Model(), FakeCluster(lease)
        if pods:
            await model.start()
        settings = Settings.model_validate(
            {
                "namespace": "team",
                "lease": LEASE,
                "name": "gateway-0",
                "upstream": f"http://127.0.0.1:{model.port}",
                "idle_seconds": 100,
                "hold_seconds": 20,
                "max_held_requests": 1000,
                "at_once": 1000,
                "port": unused_port(),
                "admin_port": unused_port(),
                "stop_seconds": 5,
                **changes,
            }
        )
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                async with serving(settings, cluster):
                    yield Stand(model, cluster, settings, session)
            finally:
                await model.stop()

    def asleep(self, **changes: Any) -> Any:
        """A gateway of a model that sleeps; keyword arguments are its settings."""
        return self._with(a_lease(Pods.ASLEEP, wanted=False), changes)

    def awake(self, **changes: Any) -> Any:
        """A gateway of a model that answers."""
        return self._with(a_lease(Pods.AWAKE, wanted=True), changes, pods=True)

    def stopped(self, **changes: Any) -> Any:
        """A gateway of a model that is stopped by its spec."""
        return self._with(a_lease(Pods.STOPPED, wanted=True), changes)


@pytest.fixture
def gateway() -> Stands:
    """Starts a gateway in one of its states."""
    return Stands()
