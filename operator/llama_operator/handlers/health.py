"""Probes and metrics over HTTP: whether the process lives, and whether it does its part, acting or standing by."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from llama_operator.errors import PortError
from llama_operator.handlers.metrics import Metrics
from llama_operator.settings import PREFIX

log = logging.getLogger(__name__)


class State(StrEnum):
    """What the process is doing."""

    STARTING = "starting"
    STANDING_BY = "standing by"
    LEADING = "leading"
    STOPPING = "stopping"


@dataclass(slots=True)
class Health:
    """The state that the probes tell."""

    state: State = State.STARTING

    @property
    def ready(self) -> bool:
        """Standing by counts: a rollout would else wait for a leader that waits for the rollout."""
        return self.state in (State.STANDING_BY, State.LEADING)


@asynccontextmanager
async def serving(health: Health, metrics: Metrics, port: int) -> AsyncGenerator[None]:
    """Answer /healthz, /readyz and /metrics on every address of this machine; port 0 is any that is free.

    Raises:
        PortError: if the port cannot be had.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"state": health.state})

    async def readyz(_: web.Request) -> web.Response:
        return web.json_response({"state": health.state}, status=200 if health.ready else 503)

    async def text(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", text)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, None, port).start()
        except OSError as error:
            raise PortError(f"port {port} cannot be had ({error}): set {PREFIX}HEALTH_PORT to another") from error
        log.info("probes and metrics on port %d", runner.addresses[0][1])
        yield
    finally:
        await runner.cleanup()
