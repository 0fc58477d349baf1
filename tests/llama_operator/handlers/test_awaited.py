"""Queue, reconciler and watches together, in virtual time: who waits is looked at when there is something new."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import pytest

from llama_operator.cluster import vigil as module
from llama_operator.cluster.nodes import Nodes
from llama_operator.cluster.vigil import Vigil
from llama_operator.errors import ClusterError
from llama_operator.handlers.metrics import Metrics
from llama_operator.handlers.queue import Queue
from llama_operator.handlers.schedule import Backoff
from llama_operator.plan.awaited import Awaited
from llama_operator.plan.observed import Key
from llama_operator.plan.survey import HubRefusal
from llama_operator.settings import Settings
from tests.llama_operator.handlers.test_reconcile import Hub, a_cluster, a_reconciler, a_secret, answer
from tests.support.fake_cluster import FakeCluster
from tests.support.operator_objects import KEY, REPO, a_body
from tests.support.survey_objects import LLAMA_70B, PROVISIONS
from tests.support.virtual_time import in_virtual_time, now

RARELY: Final = Settings(recheck_seconds=100_000, inference_image="llama-inference:1")
"""Nobody looks again by himself within these tests."""
NODE, CLASS = PROVISIONS
FORBIDDEN = ClusterError("secrets is forbidden", status=403)


@asynccontextmanager
async def at_work(work: Callable[[Key], Awaitable[float | None]], vigil: Vigil, *keys: Key) -> AsyncGenerator[None]:
    """Queue and watches at work, beginning with these keys."""
    backoff = Backoff(least=1, most=8)
    queue = Queue(work, backoff=backoff, workers=2, deadline_seconds=100, metrics=Metrics())
    tasks = [asyncio.create_task(queue.run()), asyncio.create_task(vigil.run(queue.wake))]
    for key in keys:
        queue.wake(key)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def quota(pods: str) -> dict[str, Any]:
    """A quota of so many pods."""
    metadata = {"name": "team", "namespace": KEY.namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": pods}}}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (PROVISIONS, a_secret("hf_right"), "TokenRejected"),
        ((CLASS,), NODE, "NoMatchingNode"),
        ((NODE,), CLASS, "StorageClassNotFound"),
        ((*PROVISIONS, quota("0")), quota("1"), "QuotaTooSmall"),
    ],
    ids=["Secret", "Node", "StorageClass", "ResourceQuota"],
)
@in_virtual_time
async def test_what_is_mended_is_noticed_at_once(before: Any, after: Any, reason: str) -> None:
    """By its watch alone, which is closed then; a list of nodes that was just read does not hide it."""
    cluster, hub = FakeCluster(*before, a_body()), Hub()
    if reason == "TokenRejected":
        cluster.put(a_secret("hf_wrong"))
        hub.answer = HubRefusal(reason="TokenRejected", words="no")
    reconciler = a_reconciler(cluster, RARELY, hub)
    async with at_work(reconciler.reconcile, reconciler.vigil, KEY):
        await asyncio.sleep(4)
        assert answer(cluster, "PreflightPassed") == f"False {reason}"
        hub.answer = LLAMA_70B
        cluster.put(after)
        await asyncio.sleep(2)
        assert answer(cluster, "PreflightPassed") == "True ChecksPassed"
        assert cluster.watches == []


@in_virtual_time
async def test_a_refused_watch_leaves_it_to_looking_again() -> None:
    """And is asked for again after some minutes, for somebody may have given the right."""
    cluster = a_cluster(a_body(model={"repo": REPO, "tokenSecretRef": {"name": "mine"}}))
    cluster.refuse("watch", "Secret", FORBIDDEN)
    reconciler = a_reconciler(cluster)
    async with at_work(reconciler.reconcile, reconciler.vigil, KEY):
        await asyncio.sleep(100)
        assert [call.verb for call in cluster.calls].count("watch") == 1
        await asyncio.sleep(1000)
        assert 3 < [call.verb for call in cluster.calls].count("watch") < 9
        secret = {"name": "mine", "namespace": KEY.namespace}
        cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {"hf_access_token": "eA=="}})
        await asyncio.sleep(16)
        assert answer(cluster, "PreflightPassed") == "True ChecksPassed"


@pytest.mark.parametrize("gone", ["deleted", "unreadable", "unchecked"])
@in_virtual_time
async def test_who_no_longer_waits_is_let_go(gone: str) -> None:
    """It was deleted, can no longer be served as written, or is not to be checked."""
    cluster = FakeCluster(CLASS, a_body())
    reconciler = a_reconciler(cluster)
    await reconciler.reconcile(KEY)
    assert len(reconciler.vigil) == 1
    if gone == "deleted":
        cluster.remove("LlamaDeployment", KEY.namespace, KEY.name)
    else:
        cluster.put(a_body(**({"model": {"repo": "a b"}} if gone == "unreadable" else {"preflight": {"mode": "off"}})))
    await reconciler.reconcile(KEY)
    assert len(reconciler.vigil) == 0


@in_virtual_time
async def test_a_storm_of_changes_is_a_look_a_second() -> None:
    """Nodes that come by the hundred, each changing as it starts; the last change is seen all the same."""
    cluster, looks = FakeCluster(), list[tuple[float, int]]()
    nodes = Nodes(cluster, clock=now)
    vigil = Vigil(cluster, nodes)

    async def look(key: Key) -> None:
        begun = now()
        looks.append((begun, len(await nodes.list())))
        vigil.awaits(key, frozenset({Awaited("Node")}), since=begun)

    async with at_work(look, vigil, KEY):
        await asyncio.sleep(5)
        calm = len(looks)
        for number in range(1000):
            cluster.put({**NODE, "metadata": {"name": f"node-{number}"}})
            await asyncio.sleep(0.01)
        await asyncio.sleep(5)
    assert 9 <= len(looks) - calm <= 13
    assert looks[-1][1] == 1000


@in_virtual_time
async def test_nodes_that_were_being_read_when_one_changed_are_read_again() -> None:
    """What was under way may be from before the change."""
    cluster = FakeCluster()
    nodes = Nodes(cluster, clock=now)
    listing, going_on = cluster.list, asyncio.Event()

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        found = await listing(*args, **kwargs)
        await going_on.wait()
        return found

    cluster.list = slowly  # pyright: ignore[reportAttributeAccessIssue] - a slow API server
    early = asyncio.create_task(nodes.list())
    await asyncio.sleep(1)
    cluster.put(NODE)
    nodes.forget()
    going_on.set()
    assert await early == ()
    assert len(await nodes.list()) == 1


@in_virtual_time
async def test_an_error_of_our_own_in_a_watch_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is opened again, less and less often; the others go on."""
    cluster, woken = FakeCluster(a_secret("x")), list[Key]()
    cluster.put({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "odd", "namespace": KEY.namespace}})
    vigil = Vigil(cluster, Nodes(cluster))

    async def look(key: Key) -> None:
        woken.append(key)

    async with at_work(look, vigil):
        vigil.awaits(KEY, frozenset({Awaited("ResourceQuota", KEY.namespace)}))
        other = Key(KEY.namespace, "other")
        vigil.awaits(other, frozenset({Awaited("Secret", KEY.namespace, "hf-access-token")}))
        await asyncio.sleep(600)
        tries = [call.kind for call in cluster.calls].count("ResourceQuota")
        assert 12 < tries < 30
        before = woken.count(other)
        cluster.put(a_secret("y"))
        await asyncio.sleep(2)
        assert woken.count(other) == before + 1
    assert {row.levelno for row in caplog.records if row.name == module.__name__} == {logging.ERROR}


@in_virtual_time
async def test_there_is_a_bound_on_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes later looks again by itself, and is let in once another has gone."""
    monkeypatch.setattr(module, "MOST", 2)
    vigil = Vigil(FakeCluster(), Nodes(FakeCluster()))
    keys = [Key("models", name) for name in "abc"]
    for key in keys:
        vigil.awaits(key, frozenset({Awaited("Secret", key.namespace, key.name)}))
    assert len(vigil) == 2
    vigil.awaits(keys[2])
    vigil.awaits(keys[0])
    vigil.awaits(keys[2], frozenset({Awaited("Secret", "models", "c")}))
    assert len(vigil) == 2
