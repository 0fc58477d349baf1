"""Leadership: one at a time, taken over only after measured silence, given up in time."""

import asyncio
from typing import Any

import pytest

from llama_operator.cluster.lease import Election, Leadership, identity
from llama_operator.errors import ClusterError, LeadershipLostError
from llama_operator.plan.observed import Object
from tests.support.fake_cluster import FakeCluster
from tests.support.virtual_time import in_virtual_time, now

DURATION = 15.0


def a_candidate(cluster: FakeCluster, name: str = "one") -> Leadership:
    """A candidate for the Lease."""
    return Leadership(cluster, Election(namespace="system", name="lease", identity=name, duration_seconds=DURATION))


def a_lease(**spec: Any) -> Object:
    """A Lease that somebody else wrote."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "lease", "namespace": "system"},
        "spec": spec,
    }


def holder(cluster: FakeCluster) -> str | None:
    """Who holds the Lease."""
    (lease,) = cluster.stored("Lease")
    return lease["spec"].get("holderIdentity")


@in_virtual_time
async def test_a_lease_that_is_not_there_is_created() -> None:
    """The first candidate leads at once."""
    cluster = FakeCluster()
    await a_candidate(cluster).acquire()
    (lease,) = cluster.stored("Lease")
    assert (now(), lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == (0, "one", 15)


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": ""}, {"holderIdentity": None}])
def test_a_lease_that_nobody_holds_is_taken(spec: dict[str, Any]) -> None:
    """One that was released needs no waiting; the change of hands is counted."""
    cluster = FakeCluster(a_lease(**spec, leaseTransitions=4))

    @in_virtual_time
    async def scenario() -> None:
        await a_candidate(cluster).acquire()
        assert now() == 0

    scenario()
    (lease,) = cluster.stored("Lease")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("one", 5)


def test_a_lease_without_a_spec_is_taken() -> None:
    """Somebody may have created it by hand."""
    empty = {name: value for name, value in a_lease().items() if name != "spec"}
    cluster = FakeCluster(empty)
    in_virtual_time(a_candidate(cluster).acquire)()
    assert holder(cluster) == "one"


@pytest.mark.parametrize("written", ["2001-01-01T00:00:00.000000Z", "2101-01-01T00:00:00.000000Z", ""])
def test_a_silent_leader_is_followed_after_the_whole_duration(written: str) -> None:
    """Measured from the first look on: the leader's clock may be years off."""
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 20, "renewTime": written}
    cluster = FakeCluster(a_lease(**spec))

    @in_virtual_time
    async def scenario() -> None:
        await a_candidate(cluster).acquire()
        assert 20 <= now() <= 20 + DURATION / 3

    scenario()
    assert holder(cluster) == "one"


def a_pod(name: str) -> Object:
    """A pod of the operator."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "system"}}


@pytest.mark.parametrize(
    ("name", "pods", "waits"),
    [
        (identity("node", "gone"), (), False),
        (identity("node", "there"), (a_pod("there"),), True),
        (identity("machine", None), (), True),
    ],
    ids=["a pod that is gone", "a pod that is there", "a process outside the cluster"],
)
def test_only_a_holder_that_may_live_is_waited_for(name: str, pods: tuple[Object, ...], waits: bool) -> None:
    """A pod that was uninstalled may have lost the right to release its Lease; of a machine nothing is known."""
    cluster = FakeCluster(a_lease(holderIdentity=name, leaseDurationSeconds=DURATION), *pods)

    @in_virtual_time
    async def scenario() -> None:
        await a_candidate(cluster).acquire()
        assert (now() >= DURATION) is waits

    scenario()
    assert holder(cluster) == "one"


@in_virtual_time
async def test_a_candidate_that_may_not_look_for_the_holders_pod_waits() -> None:
    """Where roles are kept by hand the right may be missing; that costs time, not leadership."""
    cluster = FakeCluster(a_lease(holderIdentity=identity("node", "gone"), leaseDurationSeconds=DURATION))
    cluster.refuse("get", "Pod", ClusterError("forbidden", status=403))
    await a_candidate(cluster).acquire()
    assert now() >= DURATION


@in_virtual_time
async def test_a_leader_that_renews_keeps_the_lease() -> None:
    """A candidate stands by for as long as there are signs of life, and follows when they end."""
    cluster = FakeCluster()
    leader, candidate = a_candidate(cluster, "leader"), a_candidate(cluster, "candidate")
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    waiting = asyncio.create_task(candidate.acquire())
    await asyncio.sleep(1000)
    assert not waiting.done()
    assert holder(cluster) == "leader"
    holding.cancel()
    await waiting
    assert now() >= 1000 + DURATION * 4 / 5
    assert holder(cluster) == "candidate"


@in_virtual_time
async def test_of_many_candidates_one_leads() -> None:
    """Those that were a moment too late go on standing by."""
    cluster = FakeCluster()
    tasks = [asyncio.create_task(a_candidate(cluster, f"c{number}").acquire()) for number in range(5)]
    await asyncio.sleep(1)
    assert sum(task.done() for task in tasks) == 1
    for task in tasks:
        task.cancel()


@in_virtual_time
async def test_a_leader_whose_lease_was_taken_stops() -> None:
    """At its next renewal, without taking it back."""
    cluster = FakeCluster()
    leader = a_candidate(cluster)
    await leader.acquire()
    (lease,) = cluster.stored("Lease")
    cluster.put({**lease, "spec": {**lease["spec"], "holderIdentity": "other"}})
    with pytest.raises(LeadershipLostError, match="another holder"):
        await leader.hold()
    assert holder(cluster) == "other"


@in_virtual_time
async def test_a_leader_whose_lease_was_deleted_stops() -> None:
    """Another candidate may have created a new one meanwhile."""
    cluster = FakeCluster()
    leader = a_candidate(cluster)
    await leader.acquire()
    cluster.remove("Lease", "system", "lease")
    with pytest.raises(LeadershipLostError):
        await leader.hold()


@in_virtual_time
async def test_a_leader_that_cannot_renew_stops_before_anybody_may_follow() -> None:
    """It gives up while candidates still wait for the rest of the duration."""
    cluster = FakeCluster()
    leader = a_candidate(cluster)
    await leader.acquire()
    cluster.refuse("replace", "Lease", ClusterError("away"))
    with pytest.raises(LeadershipLostError, match="in time"):
        await leader.hold()
    assert DURATION / 2 <= now() < DURATION


class Hanging(FakeCluster):
    """A cluster that takes a request and never answers."""

    async def replace(self, obj: Object, subresource: str | None = None) -> Object:
        """Wait for ever."""
        await asyncio.Event().wait()
        return obj


@in_virtual_time
async def test_a_renewal_without_an_answer_is_given_up_in_time() -> None:
    """A hanging connection must not keep two leaders."""
    leader = a_candidate(Hanging())
    await leader.acquire()
    with pytest.raises(LeadershipLostError):
        await leader.hold()
    assert now() < DURATION


@in_virtual_time
async def test_a_moment_without_the_api_server_costs_no_leadership() -> None:
    """The next renewal counts."""
    cluster = FakeCluster()
    leader = a_candidate(cluster)
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    for _ in range(10):
        cluster.refuse("replace", "Lease", ClusterError("away"))
        await asyncio.sleep(DURATION / 3)
        cluster.refuse("replace", "Lease", None)
        await asyncio.sleep(DURATION / 2)
    assert not holding.done()
    holding.cancel()


@in_virtual_time
async def test_a_renewal_whose_answer_was_lost_is_recognised() -> None:
    """The version has moved on, yet the holder is still this candidate."""
    cluster = FakeCluster()
    leader = a_candidate(cluster)
    await leader.acquire()
    (lease,) = cluster.stored("Lease")
    cluster.put(lease)
    holding = asyncio.create_task(leader.hold())
    await asyncio.sleep(5 * DURATION)
    assert not holding.done()
    holding.cancel()


@in_virtual_time
async def test_a_released_lease_is_taken_at_the_next_look() -> None:
    """A rollout of the operator costs seconds, not the whole duration."""
    cluster = FakeCluster()
    leader, candidate = a_candidate(cluster, "leader"), a_candidate(cluster, "candidate")
    await leader.acquire()
    waiting = asyncio.create_task(candidate.acquire())
    await asyncio.sleep(1)
    await leader.release()
    await waiting
    assert now() <= 1 + DURATION / 3
    assert holder(cluster) == "candidate"


@in_virtual_time
async def test_releasing_takes_nothing_from_a_successor() -> None:
    """What was lost meanwhile, or never held, is left alone."""
    cluster = FakeCluster()
    leader = a_candidate(cluster)
    await leader.release()
    assert cluster.calls == []
    await leader.acquire()
    (lease,) = cluster.stored("Lease")
    cluster.put({**lease, "spec": {**lease["spec"], "holderIdentity": "other"}})
    await leader.release()
    assert holder(cluster) == "other"


def test_a_candidate_waits_while_the_api_server_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """It says so, and leads as soon as it can."""
    cluster = FakeCluster()
    cluster.refuse("get", "Lease", ClusterError("connection refused"))

    @in_virtual_time
    async def scenario() -> None:
        waiting = asyncio.create_task(a_candidate(cluster).acquire())
        await asyncio.sleep(60)
        assert not waiting.done()
        cluster.refuse("get", "Lease", None)
        await waiting
        assert now() < 60 + DURATION

    scenario()
    assert "cannot ask for leadership: connection refused" in caplog.text
