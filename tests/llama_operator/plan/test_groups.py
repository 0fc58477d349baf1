"""Replicas over several nodes: what is applied, what is read back, and who counts as what."""

from typing import Any

import pytest

from llama_operator import names
from llama_operator.plan.groups import as_groups, as_seen
from llama_operator.plan.observed import Object, Observed, Plan
from llama_operator.spec.parse import parse
from llama_operator.status.report import report
from tests.support.network_policy import Peer, lets_through
from tests.support.operator_objects import (
    KEY,
    a_body,
    a_pod,
    a_report,
    a_secret,
    answers,
    applied,
    condition,
    desired,
    failing,
    observed,
    plan,
    ready,
    running,
    server,
)

KNOWN = frozenset({"LeaderWorkerSet"})
GPU: Any = {"gpu": {"count": 8, "nodes": 2}}


def a_model(**spec: Any) -> dict[str, Any]:
    """A LlamaDeployment whose replicas take two nodes."""
    return a_body(resources=GPU, **spec)


def planned(seen: Observed) -> Plan:
    """The plan as it is carried out."""
    spec = parse(seen.body)
    return as_groups(spec, seen, plan(as_seen(spec, seen)))


def group_of(body: Object | None = None) -> Any:
    """The LeaderWorkerSet that is applied."""
    found = planned(observed(body=body or a_model(), kinds=KNOWN))
    (group,) = [obj for obj in found.apply if obj["kind"] == "LeaderWorkerSet"]
    return group


def there(body: Object | None = None, **status: int) -> tuple[Object, ...]:
    """Everything once applied, the LeaderWorkerSet with this status."""
    found = planned(observed(body=body or a_model(), kinds=KNOWN)).apply
    return tuple({**obj, "status": status} if obj["kind"] == "LeaderWorkerSet" else obj for obj in found)


def of_group(pod: Object, index: int, *, digest: str | None = None) -> dict[str, Any]:
    """The pod as a member of a group, of the present template unless another is named."""
    metadata = pod["metadata"]
    labels = {**metadata["labels"], names.LABEL_WORKER_INDEX: str(index)}
    present = group_of()["metadata"]["annotations"][names.ANNOTATION_TEMPLATE]
    return {
        **pod,
        "metadata": {**metadata, "labels": labels, "annotations": {names.ANNOTATION_TEMPLATE: digest or present}},
    }


def reported(seen: Observed) -> Any:
    """The report as reconcile makes it."""
    spec = parse(seen.body)
    shown = as_seen(spec, seen)
    return report(spec, shown, plan(shown), None)


def test_a_replica_is_a_group_of_as_many_pods_as_nodes() -> None:
    """In place of the Deployment, which there is none of, under a name that leaves predict's Service its own."""
    found = planned(observed(body=a_model(replicas=3), kinds=KNOWN))
    assert "Deployment" not in [obj["kind"] for obj in found.apply]
    group = group_of(a_model(replicas=3))
    assert (group["metadata"]["name"], group["spec"]["replicas"]) == ("llama-nodes", 3)
    assert group["spec"]["leaderWorkerTemplate"]["size"] == 2
    template = group["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    (container,) = template["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert names.child_labels(KEY.name).items() <= template["metadata"]["labels"].items()


def test_each_node_is_told_its_number_and_its_leader() -> None:
    """By the variables that LeaderWorkerSet gives each pod; on one node by none."""
    env = {row["name"]: row["value"] for row in server(resources=GPU)["env"]}
    assert env["LLAMA_INFERENCE_NODES"] == "2"
    assert env["LLAMA_INFERENCE_NODE_RANK"] == "$(LWS_WORKER_INDEX)"
    assert env["LLAMA_INFERENCE_LEADER_ADDRESS"] == "$(LWS_LEADER_ADDRESS)"
    assert not [row for row in server()["env"] if "NODE" in row["name"] or "LEADER" in row["name"]]


def test_the_service_leads_to_leaders_alone() -> None:
    """Workers answer no requests."""
    selector = desired("Service", observed(body=a_model()))["spec"]["selector"]
    assert selector == {**names.pod_selector(KEY.name), names.LABEL_WORKER_INDEX: "0"}
    assert desired("Service")["spec"]["selector"] == names.pod_selector(KEY.name)


@pytest.mark.parametrize(
    ("rollout", "update"),
    [
        ({}, {"maxSurge": 1, "maxUnavailable": 1, "partition": 0}),
        ({"maxSurge": 0, "maxUnavailable": "50%"}, {"maxSurge": 0, "maxUnavailable": "50%", "partition": 0}),
        ({"strategy": "Recreate"}, {"maxSurge": 0, "maxUnavailable": "100%", "partition": 0}),
        ({"paused": True}, {"maxSurge": 1, "maxUnavailable": 1, "partition": 2}),
    ],
)
def test_rollouts_are_written_as_groups_have_them(rollout: Any, update: Any) -> None:
    """A pause leaves all groups as they are; what was planned is known again, and put right where it was changed."""
    body = a_model(replicas=2, rollout=rollout)
    group = group_of(body)
    assert group["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"] == update
    assert planned(observed(body=body, children=there(body), kinds=KNOWN)).apply == ()
    changed = {**group, "spec": {**group["spec"], "rolloutStrategy": {"rollingUpdateConfiguration": {"maxSurge": 9}}}}
    others = [obj for obj in there(body) if obj["kind"] != "LeaderWorkerSet"]
    assert planned(observed(body=body, children=[*others, changed], kinds=KNOWN)).apply != ()


def test_what_is_there_needs_nothing() -> None:
    """Read back as the Deployment that it stands for, it is what was planned."""
    found = planned(observed(body=a_model(), children=there(), kinds=KNOWN))
    assert (found.apply, found.prune) == ((), ())


def test_an_edit_and_another_scale_reach_the_group() -> None:
    """And nothing else."""
    for spec in ({"replicas": 2}, {"engine": {"dtype": "float32"}}):
        found = planned(observed(body=a_model(**spec), children=there(), kinds=KNOWN))
        changed = [obj["kind"] for obj in found.apply if obj["kind"] != "ControllerRevision"]
        assert changed == ["LeaderWorkerSet"]


def test_without_the_kind_it_is_said_what_to_install() -> None:
    """And what can be made without it is made."""
    seen = observed(body=a_model())
    found = planned(seen)
    assert [ref.kind for ref in found.missing] == ["LeaderWorkerSet"]
    assert "Service" in [obj["kind"] for obj in found.apply]
    spec = parse(seen.body)
    told = report(spec, as_seen(spec, seen), found, None)
    assert answers(told)["Accepted"] == "False KindNotInstalled"
    message = condition(told, "Accepted")["message"]
    assert "install LeaderWorkerSet (https://lws.sigs.k8s.io)" in message
    assert "spec.resources.gpu.nodes" in message
    assert told.requeue_after == 15


def test_leaders_are_the_replicas() -> None:
    """A worker is no replica, ready or not; all groups ready and of the present template is settled."""
    leader, worker = of_group(ready(a_pod("llama-nodes-0")), 0), of_group(ready(a_pod("llama-nodes-0-1")), 1)
    counts: Any = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    found = reported(observed(leader, worker, body=a_model(), children=there(**counts), kinds=KNOWN))
    assert (found.status["ready"], found.status["replicas"]) == ("1/1", 1)
    assert answers(found)["Available"] == "True Serving"
    assert answers(found)["Progressing"] == "False Settled"


def test_counts_of_the_template_before_settle_nothing() -> None:
    """A LeaderWorkerSet does not say which generation its counts are of: the pods do."""
    leader = of_group(ready(a_pod("llama-nodes-0")), 0, digest="of-the-template-before")
    counts: Any = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    found = reported(observed(leader, body=a_model(), children=there(**counts), kinds=KNOWN))
    assert answers(found)["Progressing"] == "True RollingOut"


def test_what_a_worker_cannot_do_is_told() -> None:
    """The leader only waits for it."""
    leader, worker = of_group(running(a_pod("llama-nodes-0")), 0), of_group(running(a_pod("llama-nodes-0-1")), 1)
    error = {"reason": "TokenRejected", "message": "no", "attempt": 1, "retry_in_seconds": 1.0}
    reports = {"llama-nodes-0": a_report("Load"), "llama-nodes-0-1": a_report("Download", error=error)}
    found = reported(observed(leader, worker, body=a_model(), children=there(), startup=reports, kinds=KNOWN))
    assert answers(found)["ModelCached"] == "False TokenRejected"


def test_a_worker_that_waits_for_a_token_is_told_of_a_new_one() -> None:
    """Each pod fetches the model for itself."""
    worker = of_group(running(a_pod("llama-nodes-0-1")), 1)
    reports = {"llama-nodes-0-1": failing("TokenRejected")}
    secret = a_secret("hf_access_token", version="8")
    seen = observed(worker, body=a_model(), children=there(), startup=reports, secret=secret, kinds=KNOWN)
    assert list(planned(seen).touch) == ["llama-nodes-0-1"]


def test_what_ran_before_goes_once_its_successor_is_there() -> None:
    """From one node to several and back: nothing is deleted for what cannot be made yet."""
    one = tuple(obj for obj in applied() if obj["kind"] == "Deployment")
    (group,) = [obj for obj in there() if obj["kind"] == "LeaderWorkerSet"]
    assert planned(observed(body=a_model(), children=one, kinds=KNOWN)).prune == ()
    assert [ref.kind for ref in planned(observed(body=a_model(), children=(*one, group), kinds=KNOWN)).prune] == [
        "Deployment"
    ]
    assert planned(observed(children=[group], kinds=KNOWN)).prune == ()
    assert [ref.kind for ref in planned(observed(children=[*one, group], kinds=KNOWN)).prune] == ["LeaderWorkerSet"]


def test_ranks_may_speak_to_each_other_through_a_network_policy() -> None:
    """On whatever port, both ways; nobody else may."""
    rules = desired("NetworkPolicy", observed(body=a_model(networkPolicy={"enabled": True})))
    own = Peer(namespace=KEY.namespace, labels={names.LABEL_DEPLOYMENT: KEY.name})
    for way in ("ingress", "egress"):
        assert lets_through(rules, way, own, 29500)
        assert not lets_through(rules, way, Peer(namespace=KEY.namespace), 29500)
