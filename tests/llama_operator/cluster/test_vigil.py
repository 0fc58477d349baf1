"""Watches over HTTP, as an API server speaks: whom they wake, what ends them, and what they outlive."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llama_operator.cluster.client import connected
from llama_operator.cluster.nodes import Nodes
from llama_operator.cluster.resources import NODE, QUOTA, SECRET
from llama_operator.cluster.vigil import Vigil
from llama_operator.handlers.logs import about
from llama_operator.plan.awaited import Awaited
from llama_operator.plan.observed import Key
from tests.support.cluster import write_kubeconfig
from tests.support.watched_api import WatchedApi

A, B = Key("models", "a"), Key("models", "b")
TOKEN, NODES, QUOTAS = Awaited("Secret", "models", "token"), Awaited("Node"), Awaited("ResourceQuota", "models")
SECRETS = "/api/v1/namespaces/models/secrets"


class Watching:
    """A vigil on an API server, and whom it wakes."""

    def __init__(self, vigil: Vigil, api: WatchedApi) -> None:
        self.vigil = vigil
        self.api = api
        self._woken: asyncio.Queue[Key] = asyncio.Queue()

    def wake(self, key: Key, after: float) -> None:
        """Note who is woken, at whatever time."""
        self._woken.put_nowait(key)

    async def woken(self, *keys: Key) -> None:
        """Wait until exactly these are woken, in any order."""
        found = [await asyncio.wait_for(self._woken.get(), 10) for _ in keys]
        assert sorted(found) == sorted(keys)

    async def opened(self, path: str = SECRETS) -> None:
        """Wait for the next watch to be opened."""
        assert await asyncio.wait_for(self.api.opened.get(), 10) == path

    async def closed(self, path: str = SECRETS) -> None:
        """Wait for the next watch to be closed."""
        assert await asyncio.wait_for(self.api.closed.get(), 10) == path

    def nobody(self) -> None:
        """Nobody is woken who was not waited for."""
        assert self._woken.empty()


@pytest.fixture
async def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Watching]:
    """A vigil that runs, and opens again at once what has ended."""
    async with running(tmp_path, monkeypatch) as found:
        yield found


@asynccontextmanager
async def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Watching]:
    """The same, for who would see it end."""
    api, app = WatchedApi(), web.Application()
    app.router.add_get("/{path:.*}", api.answer)
    async with TestServer(app, handler_cancellation=True) as server:
        write_kubeconfig(folder / "kubeconfig", "t", {"server": f"http://127.0.0.1:{server.port}"})
        monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
        async with connected() as cluster:
            found = Watching(Vigil(cluster, Nodes(cluster), least_seconds=0.001), api)
            task = asyncio.create_task(found.vigil.run(found.wake))
            try:
                yield found
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                api.end()


async def test_a_change_wakes_all_who_wait_by_one_watch(watching: Watching) -> None:
    """Of the named Secret alone, with no right but to watch; its opening wakes them too, for what they cannot know."""
    for key in (A, B):
        watching.vigil.awaits(key, frozenset({TOKEN}))
    await watching.opened()
    await watching.woken(A, B)
    watching.api.put(SECRET, "other", "models", data={"x": "eA=="})
    watching.api.put(SECRET, "token", "models", data={"x": "eA=="})
    await watching.woken(A, B)
    watching.api.remove(SECRET, "token", "models")
    await watching.woken(A, B)
    watching.nobody()
    (request,) = watching.api.requests
    path, _, query = request.partition("?")
    terms = {"watch=true", "allowWatchBookmarks=false", "timeoutSeconds=240", "fieldSelector=metadata.name%3Dtoken"}
    assert (path, set(query.split("&"))) == (SECRETS, terms)


async def test_who_joins_late_is_woken_if_something_changed_since_it_looked(watching: Watching) -> None:
    """The change was told while it looked, to those who waited then."""
    now = asyncio.get_running_loop().time
    watching.vigil.awaits(A, frozenset({TOKEN}))
    await watching.woken(A)
    began = now()
    watching.api.put(SECRET, "token", "models")
    await watching.woken(A)
    watching.vigil.awaits(B, frozenset({TOKEN}), since=began)
    await watching.woken(B)
    watching.vigil.awaits(B)
    watching.vigil.awaits(B, frozenset({TOKEN}), since=now())
    watching.nobody()


async def test_a_watch_lasts_as_long_as_somebody_waits(watching: Watching) -> None:
    """One who goes on leaves it to the others; the last one closes it."""
    for key in (A, B):
        watching.vigil.awaits(key, frozenset({TOKEN}))
    await watching.woken(A, B)
    watching.vigil.awaits(A)
    watching.api.put(SECRET, "token", "models")
    await watching.woken(B)
    assert watching.api.closed.empty()
    watching.vigil.awaits(B)
    await watching.closed()
    assert len(watching.vigil) == 0


async def test_what_changes_while_a_connection_is_cut_is_not_lost(watching: Watching) -> None:
    """Not even a deletion, which no new watch tells of: whoever waits looks once more when it is open again."""
    watching.api.put(SECRET, "token", "models")
    watching.vigil.awaits(A, frozenset({TOKEN}))
    await watching.woken(A, A)  # for its opening, and what was there
    watching.api.cut()
    watching.api.remove(SECRET, "token", "models")
    await watching.woken(A)
    watching.api.put(SECRET, "token", "models")
    await watching.woken(A)


@pytest.mark.parametrize("row", [("ERROR", {"code": 410, "message": "too old"}), ("ADDED", {}), ("NEWS", {})])
async def test_a_watch_that_cannot_go_on_begins_anew(watching: Watching, row: tuple[str, dict[str, object]]) -> None:
    """At a version that is too old, and at nonsense, which is told and ends nothing."""
    watching.vigil.awaits(A, frozenset({TOKEN}))
    await watching.woken(A)
    watching.api.say(*row)
    watching.api.end()
    await watching.woken(A)
    watching.api.put(SECRET, "token", "models")
    await watching.woken(A)


async def test_a_watch_that_is_refused_ends_nothing(watching: Watching, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, however many Secrets are waited for; what may be watched wakes as before."""
    caplog.set_level(logging.INFO)
    watching.api.refused.add("secrets")
    watching.vigil.awaits(A, frozenset({TOKEN}))
    watching.vigil.awaits(B, frozenset({Awaited("Secret", "models", "other"), NODES}))
    await watching.opened("/api/v1/nodes")
    await watching.woken(B)
    watching.api.put(NODE, "node-1")
    await watching.woken(B)
    words = [row.getMessage() for row in caplog.records if row.name.endswith("vigil")]
    (said,) = words
    assert said.startswith("Secrets are not watched, and looked at now and then instead: secrets is forbidden: cannot")


async def test_what_a_watch_logs_is_about_none_of_those_who_wait(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """It is opened while one of them is worked on, and outlives that."""
    caplog.set_level(logging.INFO)
    said: asyncio.Queue[str | None] = asyncio.Queue()

    def note(record: logging.LogRecord) -> bool:
        if record.name.endswith("vigil"):
            said.put_nowait(about.get())
        return True

    caplog.handler.addFilter(note)
    watching.api.refused.add("secrets")
    about.set(str(A))
    watching.vigil.awaits(A, frozenset({TOKEN}))
    assert await asyncio.wait_for(said.get(), 10) is None
    caplog.handler.removeFilter(note)


async def test_what_nobody_judges_by_wakes_nobody(watching: Watching) -> None:
    """A kubelet's heartbeat, what is used of a quota; a label, and what the quota allows, do."""
    heartbeat = {"allocatable": {"cpu": "8"}, "conditions": [{"type": "Ready", "lastHeartbeatTime": "08:00"}]}
    watching.api.put(NODE, "node-1", status=heartbeat)
    watching.api.put(QUOTA, "team", "models", spec={"hard": {"pods": "1"}}, status={"used": {"pods": "0"}})
    watching.vigil.awaits(A, frozenset({NODES}))
    watching.vigil.awaits(B, frozenset({QUOTAS}))
    await watching.woken(A, A, B, B)
    watching.api.put(NODE, "node-1", status={**heartbeat, "conditions": []})
    watching.api.put(NODE, "node-1", metadata={"labels": {"zone": "a"}}, status=heartbeat)
    await watching.woken(A)
    watching.api.put(QUOTA, "team", "models", spec={"hard": {"pods": "1"}}, status={"used": {"pods": "1"}})
    watching.api.put(QUOTA, "team", "models", spec={"hard": {"pods": "2"}}, status={"used": {"pods": "1"}})
    await watching.woken(B)
    watching.nobody()


async def test_stopping_closes_every_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though somebody still waits."""
    async with running(tmp_path, monkeypatch) as found:
        found.vigil.awaits(A, frozenset({TOKEN, NODES}))
        await found.woken(A, A)
    closed = {await asyncio.wait_for(found.api.closed.get(), 10) for _ in range(2)}
    assert closed == {SECRETS, "/api/v1/nodes"}
