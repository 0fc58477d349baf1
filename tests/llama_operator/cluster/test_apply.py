"""Carrying out a plan: what is refused for good, what is tried again, what is never deleted."""

from typing import Any

import pytest

from llama_operator.cluster.apply import apply
from llama_operator.errors import ClusterError
from llama_operator.names import ANNOTATION_SECRET_SEEN, FIELD_MANAGER, KIND, shared_labels
from llama_operator.plan.observed import Object, Plan, ref_of
from tests.support.fake_cluster import Call, FakeCluster
from tests.support.operator_objects import KEY, a_body, a_pod, applied, observed, plan


def the_service() -> Object:
    """The planned Service."""
    (found,) = [obj for obj in applied() if obj["kind"] == "Service"]
    return found


async def test_objects_are_applied_in_the_plans_order() -> None:
    """And named in the outcome."""
    cluster, seen = FakeCluster(), observed()
    wanted = plan(seen)
    outcome = await apply(cluster, wanted, seen)
    kinds = ["ServiceAccount", "PersistentVolumeClaim", "Service", "ControllerRevision", "Deployment"]
    assert [call.kind for call in cluster.calls] == kinds
    assert outcome.applied == tuple(map(ref_of, wanted.apply))
    assert not outcome.refused


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
async def test_what_is_refused_for_good_is_an_outcome(status: int) -> None:
    """The objects after it are applied all the same."""
    cluster, seen = FakeCluster(), observed()
    cluster.refuse("apply", "Service", ClusterError("spec.ports: wrong", status=status))
    outcome = await apply(cluster, plan(seen), seen)
    assert outcome.refused == {ref_of(the_service()): "spec.ports: wrong"}
    assert [ref.kind for ref in outcome.applied] == [
        "ServiceAccount",
        "PersistentVolumeClaim",
        "ControllerRevision",
        "Deployment",
    ]


async def test_a_webhook_that_fails_holds_up_its_object_alone() -> None:
    """A policy engine that is away for Services says nothing of Deployments."""
    words = 'Internal error occurred: failed calling webhook "mutate.acme.example": Post "https://acme": EOF'
    cluster, seen = FakeCluster(), observed()
    cluster.refuse("apply", "Service", ClusterError(words, status=500))
    outcome = await apply(cluster, plan(seen), seen)
    assert outcome.refused == {ref_of(the_service()): words}
    assert "Deployment" in [ref.kind for ref in outcome.applied]


class Crowded(FakeCluster):
    """Refuses to apply a Service while it has a port of somebody else's."""

    async def apply(self, obj: Object, manager: str = "") -> Object:
        """Apply, unless the ports collide."""
        if any(held["spec"]["ports"] != obj["spec"]["ports"] for held in self.stored("Service")):
            raise ClusterError("spec.ports[1].name: Duplicate value", status=422)
        return await super().apply(obj, manager)


async def test_items_of_others_that_ours_cannot_be_beside_are_replaced() -> None:
    """A port that was changed by hand is one of somebody else's beside ours."""
    changed = {**the_service(), "spec": {**the_service()["spec"], "ports": [{"name": "http", "port": 81}]}}
    cluster = Crowded(changed)
    outcome = await apply(cluster, Plan(apply=(the_service(),)), observed(children=[changed]))
    assert outcome.applied == (ref_of(changed),)
    assert [obj["spec"]["ports"][0]["port"] for obj in cluster.stored("Service")] == [80]


@pytest.mark.parametrize("status", [401, 409, 429, 500, 503, None])
async def test_what_may_work_next_time_is_raised(status: int | None) -> None:
    """A conflict, a server that fails or is away: the whole is tried again with backoff."""
    cluster, seen = FakeCluster(), observed()
    cluster.refuse("apply", "Service", ClusterError("later", status=status))
    with pytest.raises(ClusterError, match="later"):
        await apply(cluster, plan(seen), seen)


async def test_a_lease_is_written_onto_what_was_read_and_nothing_newer() -> None:
    """A gateway that wrote since makes the whole look start over, before a pod is stopped."""
    cluster = FakeCluster()
    wanted = next(obj for obj in applied(a_body(scaling={"minReplicas": 0})) if obj["kind"] == "Lease")
    read = cluster.put(wanted)
    cluster.put(wanted)
    with pytest.raises(ClusterError) as raised:
        await apply(cluster, Plan(apply=(wanted, the_service())), observed(children=[read]))
    assert (raised.value.status, [call.kind for call in cluster.writes]) == (409, ["Lease"])


async def test_what_is_wanted_no_more_is_deleted() -> None:
    """The very object that was seen."""
    cluster = FakeCluster(the_service())
    (service,) = cluster.stored("Service")
    outcome = await apply(cluster, Plan(prune=(ref_of(service),)), observed(children=[service]))
    assert cluster.stored("Service") == []
    assert outcome.pruned == (ref_of(service),)


async def test_an_object_made_anew_meanwhile_is_not_deleted() -> None:
    """The same name with another uid may be somebody else's."""
    cluster = FakeCluster(the_service())
    (seen,) = cluster.stored("Service")
    cluster.remove("Service", KEY.namespace, KEY.name)
    cluster.put(the_service())
    with pytest.raises(ClusterError) as refused:
        await apply(cluster, Plan(prune=(ref_of(seen),)), observed(children=[seen]))
    assert refused.value.status == 409
    assert len(cluster.stored("Service")) == 1


async def test_what_is_gone_already_needs_no_deleting() -> None:
    """Nor touching."""
    cluster = FakeCluster()
    gone = {**the_service(), "metadata": {**the_service()["metadata"], "uid": "gone"}}
    await apply(
        cluster,
        Plan(prune=(ref_of(gone),), touch={"gone": {ANNOTATION_SECRET_SEEN: "7"}}),
        observed(children=[gone]),
    )
    assert cluster.calls == [Call("delete", "Service", "llama"), Call("merge", "Pod", "gone")]


async def test_a_pod_is_told_of_the_secrets_version() -> None:
    """By an annotation, which makes the kubelet refresh the mounted file."""
    pod = a_pod()
    cluster = FakeCluster({**pod, "metadata": {**pod["metadata"], "namespace": KEY.namespace}})
    await apply(cluster, Plan(touch={"llama-1": {ANNOTATION_SECRET_SEEN: "7"}}), observed())
    (touched,) = cluster.stored("Pod")
    assert touched["metadata"]["annotations"] == {ANNOTATION_SECRET_SEEN: "7"}
    assert touched["metadata"]["labels"] == pod["metadata"]["labels"]


@pytest.mark.parametrize("verb", ["delete", "merge"])
async def test_a_delete_or_touch_that_fails_is_raised(verb: str) -> None:
    """To be tried again as a whole."""
    cluster = FakeCluster(the_service())
    (service,) = cluster.stored("Service")
    for kind in ("Service", "Pod"):
        cluster.refuse(verb, kind, ClusterError("away", status=500))
    todo = Plan(prune=(ref_of(service),), touch={"llama-1": {ANNOTATION_SECRET_SEEN: "7"}})
    with pytest.raises(ClusterError, match="away"):
        await apply(cluster, todo, observed(children=[service]))


def shared(*owners: str) -> Any:
    """A shared claim as it is on the cluster."""
    rows = [{"kind": KIND, "name": owner, "uid": f"uid-of-{owner}"} for owner in owners]
    metadata = {"name": "model-a", "namespace": KEY.namespace, "labels": shared_labels(), "ownerReferences": rows}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}


class Managed(FakeCluster):
    """Remembers by whom what was applied."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(*objects)
        self.applied: list[tuple[str, Object]] = []

    async def apply(self, obj: Object, manager: str = "") -> Object:
        """Take it down."""
        self.applied.append((manager, obj))
        return obj


async def test_what_is_shared_is_applied_by_each_under_a_name_of_its_own() -> None:
    """So that nobody takes away what another has applied."""
    cluster = Managed()
    await apply(cluster, Plan(apply=(shared("llama"),)), observed())
    assert [manager for manager, _ in cluster.applied] == [f"{FIELD_MANAGER}/{KEY.name}"]


async def test_what_others_use_is_left_to_them() -> None:
    """Our owner reference goes, theirs stay; with the version that was seen, for the list is replaced as a whole."""
    cluster = Managed(shared("llama", "other"))
    (live,) = cluster.stored("PersistentVolumeClaim")
    body = a_body()
    seen = observed(body={**body, "metadata": {**body["metadata"], "uid": "uid-of-llama"}}, children=(live,))
    await apply(cluster, Plan(release=(ref_of(live),)), seen)
    (left,) = cluster.stored("PersistentVolumeClaim")
    assert [row["name"] for row in left["metadata"]["ownerReferences"]] == ["other"]
    assert [call.verb for call in cluster.writes] == ["merge"]


async def test_what_nobody_uses_any_more_is_deleted_unless_somebody_has_just_taken_it_up() -> None:
    """Between the look and the deed another may have begun to share it."""
    cluster = Managed(shared("llama"))
    (seen,) = cluster.stored("PersistentVolumeClaim")
    cluster.put(shared("llama", "other") | {"metadata": {**seen["metadata"]}})
    with pytest.raises(ClusterError) as caught:
        await apply(cluster, Plan(release=(ref_of(seen),)), observed(children=(seen,)))
    assert caught.value.status == 409
    (live,) = cluster.stored("PersistentVolumeClaim")
    await apply(cluster, Plan(release=(ref_of(live),)), observed(children=(live,)))
    assert cluster.stored("PersistentVolumeClaim") == []


async def test_a_secret_that_may_not_be_deleted_is_left() -> None:
    """The operator was installed anew without API keys, and all else goes on; it is not told as deleted."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": KEY.namespace}}
    cluster = FakeCluster()
    seen = observed(children=[cluster.put(secret)])
    ref = ref_of(secret)
    cluster.refuse("delete", "Secret", ClusterError("cannot delete secrets", status=403))
    assert (await apply(cluster, Plan(prune=(ref,)), seen)).pruned == ()
    cluster.refuse("delete", "Secret", None)
    assert (await apply(cluster, Plan(prune=(ref,)), seen)).pruned == (ref,)
    assert cluster.stored("Secret") == []
