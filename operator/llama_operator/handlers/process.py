"""The life of the process: probes, leadership, watching and working, and the way down.

Whatever ends unexpectedly ends the process, which is then started again with nothing to remember.
"""

import asyncio
import logging
import random
import signal
import socket
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import kopf

from llama_operator import names
from llama_operator.cluster.access import access
from llama_operator.cluster.client import connected
from llama_operator.cluster.hub import hub_over_http
from llama_operator.cluster.hub_memory import remembering
from llama_operator.cluster.lease import Election, Leadership, identity
from llama_operator.cluster.nodes import Nodes
from llama_operator.cluster.observe import Observer
from llama_operator.cluster.routes import TcpRoutes
from llama_operator.cluster.startup import reports_over_http
from llama_operator.cluster.surveyor import Surveyor
from llama_operator.cluster.usage import usages_over_http
from llama_operator.cluster.vigil import Vigil
from llama_operator.errors import ClusterError
from llama_operator.handlers import events
from llama_operator.handlers.health import Health, State, serving
from llama_operator.handlers.metrics import Metrics
from llama_operator.handlers.queue import Queue
from llama_operator.handlers.reconcile import Reconciler, plan_settings
from llama_operator.handlers.schedule import Backoff
from llama_operator.settings import Settings

log = logging.getLogger(__name__)

_SPREAD: Final = 0.25
"""Share of the resync interval over which its keys are spread, so that they do not come as one wave."""
_CRD_SECONDS: Final = 2.0
_SCANNING: Final = "kopf/_cogs/clients/scanning.py"
_LAST_SECONDS: Final = 5.0
"""How long what is ended at the end may take to end."""


async def run(settings: Settings) -> None:
    """Serve LlamaDeployments until SIGTERM or SIGINT.

    Raises:
        LlamaOperatorError: if the cluster cannot be reached, leadership is lost, watching ends, or the port of the
            probes is taken.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    health, metrics = Health(), Metrics()
    async with (
        connected(metrics.asked) as cluster,
        reports_over_http() as startup,
        usages_over_http() as usages,
        hub_over_http() as hub,
        remembering(hub) as memory,
        nothing_outlived(),
        serving(health, metrics, settings.health_port),
    ):
        leadership = Leadership(cluster, _election(settings))
        nodes = Nodes(cluster)
        observer = Observer(cluster, startup, nodes, TcpRoutes(), usages, gateway=settings.gateway_enabled)
        vigil = Vigil(cluster, nodes)
        reconciler = Reconciler(
            cluster=cluster,
            observer=observer,
            surveyor=Surveyor(cluster, memory, nodes),
            vigil=vigil,
            settings=plan_settings(settings),
            startups=metrics.startups,
            costs=metrics.costs,
        )
        health.state = State.STANDING_BY
        try:
            if await _unless(stop, leadership.acquire()):
                queue = _queue(settings, reconciler, metrics)
                metrics.lead(queue.__len__)
                await _Leader(settings, observer, queue, vigil, health, metrics, stop).lead(leadership)
        finally:
            health.state = State.STOPPING
            await leadership.release()


@asynccontextmanager
async def nothing_outlived() -> AsyncGenerator[None]:
    """End, at the end of the block, every task that was begun in it: whoever closes the clients comes after.

    Some are nobody's any more: reads beside one that failed, what kopf began and left. With the clients closed under
    them they would fail, and say so as an error.
    """
    before = asyncio.all_tasks()
    try:
        yield
    finally:
        left = asyncio.all_tasks() - before
        for task in left:
            task.cancel()
        if left:
            done, _ = await asyncio.wait(left, timeout=_LAST_SECONDS)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.debug("%s ended at the end: %r", task.get_name(), error)


@dataclass(frozen=True, slots=True)
class _Leader:
    """What the leading process does."""

    settings: Settings
    observer: Observer
    queue: Queue
    vigil: Vigil
    health: Health
    metrics: Metrics
    stop: asyncio.Event

    async def lead(self, leadership: Leadership) -> None:
        """Act until `stop`, then end what is in flight."""
        try:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(self.queue.run())
                helping = (leadership.hold(), self._resync(), self._watch(), self.vigil.run(self.queue.wake))
                others = [group.create_task(work) for work in helping]
                await self.stop.wait()
                log.info("stopping")
                self.queue.stop()
                await asyncio.wait({working}, timeout=self.settings.stop_seconds)
                # Only now: kopf cancels at its end whatever task it does not know, and so would work in flight.
                for task in (working, *others):
                    task.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _watch(self) -> None:
        await self._until_served()
        namespaces = self.settings.watch_namespaces
        others = asyncio.all_tasks()
        watching = await kopf.spawn_tasks(
            registry=events.registry(self.queue.wake, _login, gateway=self.settings.gateway_enabled),
            settings=events.settings(),
            clusterwide=not namespaces,
            namespaces=namespaces,
            # Else kopf looks up the user's name, and an image's has none. Processes are told apart by the Lease.
            identity=cast("Any", names.MANAGED_BY),
        )
        _stop_on_signals(self.stop)  # kopf has put its own handlers there
        self.health.state = State.LEADING
        try:
            await _until_ended(asyncio.ensure_future(kopf.run_tasks(watching, ignored=others)))
        except Exception as error:
            # kopf has logged it with its traceback; its errors carry the API server's words first.
            raise ClusterError(f"watching ended: {error.args[0] if error.args else error!r}") from error
        raise ClusterError("watching ended by itself")

    async def _until_served(self) -> None:
        """Wait until the API server knows LlamaDeployments: kopf looks once, at its start, which kinds there are."""
        while True:
            try:
                await self.observer.keys(self.settings.watch_namespaces)
            except ClusterError as error:
                missing = "no LlamaDeployments here: install their CustomResourceDefinition"
                log.warning("%s", missing if error.status == 404 else error)
                await asyncio.sleep(_CRD_SECONDS)
            else:
                return

    async def _resync(self) -> None:
        """Look at everything from time to time: a watch may lose what happened while it was away."""
        interval = self.settings.resync_seconds
        while True:
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311  (not a secret)
            try:
                keys = await self.observer.keys(self.settings.watch_namespaces)
            except ClusterError as error:
                log.warning("the resync is put off: %s", error)
                continue
            self.metrics.keep(frozenset(keys))
            for key in keys:
                self.queue.wake(key, after=random.random() * interval * _SPREAD)  # noqa: S311


async def _until_ended(watching: asyncio.Future[None]) -> None:
    """Wait for kopf; cancelled, end the requests that it leaves behind, and then kopf itself.

    With these it finds out at its start which kinds there are, each in a task of its own that nobody cancels (those of
    `asyncio.as_completed`); at its end it closes their connections, and then logs that they failed.
    """
    try:
        await asyncio.shield(watching)
    except asyncio.CancelledError:
        for task in filter(_asks_for_kinds, asyncio.all_tasks()):
            task.cancel()
        watching.cancel()
        await asyncio.wait({watching})
        raise


def _asks_for_kinds(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.endswith(_SCANNING)


def _queue(settings: Settings, reconciler: Reconciler, metrics: Metrics) -> Queue:
    return Queue(
        reconciler.reconcile,
        backoff=Backoff(least=settings.backoff_min_seconds, most=settings.backoff_max_seconds),
        workers=settings.workers,
        deadline_seconds=settings.reconcile_deadline_seconds,
        metrics=metrics,
    )


def _election(settings: Settings) -> Election:
    return Election(
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        identity=identity(socket.gethostname(), settings.pod_name),
        duration_seconds=settings.lease_duration_seconds,
    )


async def _login() -> kopf.ConnectionInfo:
    """Give kopf the access that the client has, read anew: tokens are replaced now and then."""
    found = await access()
    scheme, _, token = (found.authorization or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=found.server,
        ca_path=found.ca_path,
        insecure=found.insecure,
        scheme=scheme or None,
        token=token or None,
        certificate_path=found.certificate_path,
        private_key_path=found.private_key_path,
        trust_env=True,
    )


def _stop_on_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work`, unless `stop` comes first; return whether it was done."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        return doing.done()
    finally:
        doing.cancel()
        stopping.cancel()
