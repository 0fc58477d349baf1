"""The life of a gateway: two ports, the keeper, and a way down that loses no request."""

import asyncio
import logging
import resource
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiohttp import web

from llama_operator.cluster.client import Cluster, connected
from llama_operator.errors import PortError
from llama_operator.gateway.decide import Limits
from llama_operator.gateway.gate import Gate
from llama_operator.gateway.keeper import Keeper, Post
from llama_operator.gateway.keys import Door
from llama_operator.gateway.metrics import Metrics
from llama_operator.gateway.proxy import pods
from llama_operator.gateway.server import Gateway, Leaving, admin
from llama_operator.gateway.settings import PREFIX, Settings

log = logging.getLogger(__name__)

_BACKLOG: Final = 4096
"""Connections that wait to be accepted: callers come at once, when a model that they share has gone to sleep."""


async def run(settings: Settings) -> None:
    """Answer for a model until SIGTERM or SIGINT.

    Raises:
        LlamaOperatorError: if there is no way to the API server at all, or a port is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _open_files()
    async with connected() as cluster, serving(settings, cluster) as (leaving, keeping):
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({stopping, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            stopping.cancel()
            keeping.result()
        log.info("leaving")
        leaving.begun = True
        # Routing learns late that a pod leaves; until then it sends requests here, and they are answered.
        await asyncio.sleep(settings.leave_seconds)


@asynccontextmanager
async def serving(settings: Settings, cluster: Cluster) -> "AsyncGenerator[tuple[Leaving, asyncio.Task[None]]]":
    """Answer while the block runs; at its end requests that are there may end. Yield the keeper's task as well."""
    limits = Limits(
        idle_seconds=settings.idle_seconds,
        hold_seconds=settings.hold_seconds,
        max_held=settings.max_held_requests,
    )
    gate, leaving = Gate(limits, at_once=settings.at_once), Leaving()
    metrics = Metrics(lambda: gate.mind, lambda: gate.state)
    post = Post(namespace=settings.namespace, lease=settings.lease, name=settings.name)
    async with pods(settings.upstream) as upstream:
        keeper = Keeper(cluster, post, upstream.knock, gate, metrics)
        gateway = Gateway(gate=gate, pods=upstream, metrics=metrics, door=Door(settings.api_keys_dir))
        keeping = asyncio.create_task(keeper.run(), name="keeper")
        try:
            async with (
                _listening(admin(gate, keeper, metrics, leaving), settings.admin_port, "ADMIN_PORT", 1.0),
                _listening(gateway.app(), settings.port, "PORT", settings.stop_seconds),
            ):
                yield leaving, keeping
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping


@asynccontextmanager
async def _listening(app: web.Application, port: int, name: str, stop_seconds: float) -> AsyncGenerator[None]:
    # Cancelled with the caller's connection: whoever hangs up frees the pod's slot, and the place in the queue.
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, auto_decompress=False, shutdown_timeout=stop_seconds
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, None, port, backlog=_BACKLOG).start()
        except OSError as error:
            raise PortError(f"port {port} cannot be had ({error}): set {PREFIX}{name} to another") from error
        log.info("%s: %d", name.lower(), runner.addresses[0][1])
        yield
    finally:
        await runner.cleanup()


def _open_files() -> None:
    """Allow as many connections as the system does; two belong to each request."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
