"""The whole path over a cluster in memory: from a body to objects, status and events."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from llama_operator import names
from llama_operator.cluster.hub import HubQuery
from llama_operator.cluster.nodes import Nodes
from llama_operator.cluster.observe import Observer
from llama_operator.cluster.surveyor import Surveyor
from llama_operator.cluster.vigil import Vigil
from llama_operator.errors import ClusterError, NamespaceTerminatingError
from llama_operator.handlers.metrics import Metrics
from llama_operator.handlers.reconcile import Reconciler, plan_settings
from llama_operator.plan.observed import Key, Object
from llama_operator.plan.survey import HubAnswer, HubRefusal
from llama_operator.settings import Settings
from tests.support.fake_cluster import Call, FakeCluster
from tests.support.operator_objects import KEY, REPO, a_body
from tests.support.survey_objects import LLAMA_70B, PROVISIONS
from tests.support.usages import ToldUsages


class Silent:
    """No pod has a report."""

    async def of(self, pods: Sequence[Object]) -> Mapping[str, Object]:
        """Return none."""
        return {}


class Reached:
    """Each Service leads to its pods."""

    async def refuses(self, service: Mapping[str, Any]) -> bool:
        """Never."""
        return False


class Hub:
    """Gives one answer, and counts how often it is asked."""

    def __init__(self, answer: HubAnswer = LLAMA_70B) -> None:
        self.answer = answer
        self.asked: list[HubQuery] = []

    async def of(self, query: HubQuery) -> HubAnswer:
        """Answer."""
        self.asked.append(query)
        return self.answer


def a_reconciler(cluster: FakeCluster, settings: Settings | None = None, hub: Hub | None = None) -> Reconciler:
    """A reconciler over the cluster."""
    nodes, wanted = Nodes(cluster), settings or Settings(inference_image="llama-inference:1")
    return Reconciler(
        cluster=cluster,
        observer=Observer(cluster, Silent(), nodes, Reached(), ToldUsages(), gateway=wanted.gateway_enabled),
        surveyor=Surveyor(cluster, hub or Hub(), nodes),
        vigil=Vigil(cluster, nodes),
        settings=plan_settings(wanted),
        startups=Metrics().startups,
        costs=Metrics().costs,
    )


def a_cluster(*objects: Object) -> FakeCluster:
    """A cluster that has what the seed's case needs, and these objects."""
    return FakeCluster(*PROVISIONS, *objects)


def status(cluster: FakeCluster) -> Any:
    """The status that was written."""
    (llama,) = cluster.stored("LlamaDeployment")
    return llama["status"]


def answer(cluster: FakeCluster, kind: str) -> str:
    """One condition of it."""
    row = next(row for row in status(cluster)["conditions"] if row["type"] == kind)
    return f"{row['status']} {row['reason']}"


async def test_a_new_deployment_gets_objects_then_a_status_then_events() -> None:
    """In this order, so that a process that dies between them repeats what is missing."""
    cluster = a_cluster(a_body())
    again = await a_reconciler(cluster).reconcile(KEY)
    assert [(call.verb, call.kind) for call in cluster.writes[:6]] == [
        ("apply", "ServiceAccount"),
        ("apply", "PersistentVolumeClaim"),
        ("apply", "Service"),
        ("apply", "ControllerRevision"),
        ("apply", "Deployment"),
        ("replace", "LlamaDeployment"),
    ]
    assert {call.kind for call in cluster.writes[6:]} == {"Event"}
    assert [event["reason"] for event in cluster.stored("Event")] == ["Applied", "SpecValid", "ChecksPassed"]
    assert again is not None


async def test_in_a_namespace_that_is_being_deleted_there_is_nothing_to_do() -> None:
    """No status, no event, no further try: all of it goes with the namespace."""
    cluster = FakeCluster(a_body())
    cluster.refuse("apply", "ServiceAccount", NamespaceTerminatingError("it is being terminated", status=403))
    assert await a_reconciler(cluster).reconcile(KEY) is None
    assert [call.verb for call in cluster.writes] == ["apply"]


async def test_one_that_is_deleted_while_it_is_worked_on_ends_quietly() -> None:
    """Nobody looks again, and nothing is failed: what was just applied goes with its owner."""

    class Deleting(FakeCluster):
        """Deletes the LlamaDeployment once its Deployment is applied."""

        async def apply(self, obj: Object, manager: str = "") -> Object:
            """Apply; then it goes."""
            if obj["kind"] == "Deployment":
                self.remove("LlamaDeployment", KEY.namespace, KEY.name)
            return await super().apply(obj, manager)

    cluster = Deleting(*PROVISIONS, a_body())
    assert await a_reconciler(cluster).reconcile(KEY) is None
    assert cluster.writes[-1] == Call("replace", "LlamaDeployment", KEY.name)


async def test_a_second_look_writes_nothing() -> None:
    """By another process, too: nothing is remembered."""
    cluster = a_cluster(a_body())
    await a_reconciler(cluster).reconcile(KEY)
    await a_reconciler(cluster).reconcile(KEY)  # the Deployment that was applied is now seen
    cluster.calls.clear()
    await a_reconciler(cluster).reconcile(KEY)
    assert cluster.writes == []


async def test_a_new_default_image_writes_nothing() -> None:
    """An upgrade of the operator restarts no pod."""
    cluster = a_cluster(a_body())
    for _ in range(2):
        await a_reconciler(cluster).reconcile(KEY)
    cluster.calls.clear()
    await a_reconciler(cluster, Settings(inference_image="llama-inference:2")).reconcile(KEY)
    assert cluster.writes == []


@pytest.mark.parametrize("metadata", [None, {"deletionTimestamp": "2026-11-24T08:00:00Z"}])
async def test_what_is_gone_or_going_is_left_to_the_garbage_collector(metadata: dict[str, str] | None) -> None:
    """Applying now would bring back what is on its way out."""
    body = a_body()
    cluster = a_cluster(*([{**body, "metadata": {**body["metadata"], **metadata}}] if metadata else ()))
    assert await a_reconciler(cluster).reconcile(KEY) is None
    assert cluster.writes == []


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"repo": "a b"}},
        {"podTemplate": {"spec": {"volumes": [{}]}}},
        {"scheduling": {"affinity": {"nodeAffinity": 5}}},
    ],
)
async def test_a_spec_that_cannot_be_served_says_so_and_waits(spec: dict[str, Any]) -> None:
    """Nothing is applied, and nobody looks again before the spec changes."""
    cluster = a_cluster(a_body(**spec))
    assert await a_reconciler(cluster).reconcile(KEY) is None
    assert answer(cluster, "Accepted") == "False InvalidSpec"
    assert {call.kind for call in cluster.writes} == {"LlamaDeployment", "Event"}


async def test_a_missing_secret_holds_the_pods_until_it_is_there() -> None:
    """The rest is made already."""
    cluster = a_cluster(a_body(model={"repo": REPO, "tokenSecretRef": {"name": "mine"}}))
    assert await a_reconciler(cluster).reconcile(KEY) is not None
    assert answer(cluster, "PreflightPassed") == "False SecretNotFound"
    assert cluster.stored("Deployment") == []
    secret = {"name": "mine", "namespace": KEY.namespace}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {"hf_access_token": "eA=="}})
    await a_reconciler(cluster).reconcile(KEY)
    assert answer(cluster, "PreflightPassed") == "True ChecksPassed"
    assert len(cluster.stored("Deployment")) == 1


async def test_a_refused_object_is_told_in_the_status() -> None:
    """In the API server's words, and tried again."""
    cluster = a_cluster(a_body())
    cluster.refuse("apply", "Deployment", ClusterError("spec.template: wrong", status=422))
    assert await a_reconciler(cluster).reconcile(KEY) is not None
    assert answer(cluster, "Accepted") == "False ObjectRefused"


async def test_a_webhook_that_fails_is_named_in_the_status_and_waited_for() -> None:
    """What it says nothing of is there; when it is back, all is, without anybody's doing."""
    words = 'Internal error occurred: failed calling webhook "mutate.acme.example": Post "https://acme": EOF'
    cluster = a_cluster(a_body())
    cluster.refuse("apply", "Deployment", ClusterError(words, status=500))
    assert await a_reconciler(cluster).reconcile(KEY) is not None
    assert answer(cluster, "Accepted") == "False WebhookFailed"
    assert cluster.stored("Service")
    cluster.refuse("apply", "Deployment", None)
    await a_reconciler(cluster).reconcile(KEY)
    assert answer(cluster, "Accepted") == "True SpecValid"
    assert cluster.stored("Deployment")


def rewritten(obj: dict[str, Any]) -> None:
    """Pull images from another registry, as a policy engine would have it."""
    if obj["kind"] == "Deployment":
        for row in obj["spec"]["template"]["spec"]["containers"]:
            row["image"] = f"mirror.example/{row['image'].removeprefix('mirror.example/')}"


def tolerating(obj: dict[str, Any]) -> None:
    """Add a toleration and a sidecar, pull images always."""
    if obj["kind"] == "Deployment":
        pod = obj["spec"]["template"]["spec"]
        pod["tolerations"] = [*pod.get("tolerations", ()), {"key": "team", "operator": "Exists"}]
        pod["containers"] = [{**row, "imagePullPolicy": "Always"} for row in pod["containers"]]
        pod["containers"].append({"name": "mesh", "image": "mesh:1"})


def annotated(obj: dict[str, Any]) -> None:
    """Take a label of ours for its own."""
    if obj["kind"] == "Service":
        obj["metadata"]["labels"] = {**obj["metadata"]["labels"], "app.kubernetes.io/managed-by": "team"}


@pytest.mark.parametrize("admit", [rewritten, tolerating, annotated])
@pytest.mark.parametrize("spec", [{}, {"engine": {"image": "acme/llama-inference:7"}}])
async def test_what_a_webhook_makes_of_an_object_is_left_so(admit: Any, spec: dict[str, Any]) -> None:
    """It would make the same of it again: no second apply, no other rollout, and the status says what differs."""
    cluster = a_cluster(a_body(**spec))
    cluster.admit = admit
    reconciler = a_reconciler(cluster)
    for _ in range(3):
        await reconciler.reconcile(KEY)
    cluster.calls.clear()
    await reconciler.reconcile(KEY)
    assert cluster.writes == []
    assert answer(cluster, "Accepted") == "True SpecValid"
    assert len(cluster.stored("ControllerRevision")) == 1
    assert "has changed: " in next(row["message"] for row in status(cluster)["conditions"] if row["type"] == "Accepted")


async def test_what_somebody_changes_after_a_webhook_is_set_right() -> None:
    """What is left alone is what the webhook made, not what comes later."""
    cluster = a_cluster(a_body())
    cluster.admit = rewritten
    reconciler = a_reconciler(cluster)
    for _ in range(3):
        await reconciler.reconcile(KEY)
    (found,) = cluster.stored("Deployment")
    found["spec"]["template"]["spec"]["containers"][0]["ports"] = []
    cluster.put(found)
    cluster.calls.clear()
    await reconciler.reconcile(KEY)
    assert Call("apply", "Deployment", KEY.name) in cluster.writes
    cluster.calls.clear()
    await reconciler.reconcile(KEY)
    assert Call("apply", "Deployment", KEY.name) not in cluster.writes


async def test_another_process_applies_once_what_a_webhook_changes() -> None:
    """What was admitted is not remembered beyond it; one look later it is quiet again."""
    cluster = a_cluster(a_body())
    cluster.admit = rewritten
    for _ in range(2):
        await a_reconciler(cluster).reconcile(KEY)
    reconciler = a_reconciler(cluster)
    await reconciler.reconcile(KEY)
    cluster.calls.clear()
    await reconciler.reconcile(KEY)
    assert [call.kind for call in cluster.writes if call.kind not in ("LlamaDeployment", "Event")] == []


async def test_without_gateways_a_model_that_may_sleep_is_served_awake_and_told() -> None:
    """Also where it had one: callers reach the pods again, and no right is asked for that is not there."""
    body = a_body(scaling={"minReplicas": 0})
    settings = Settings(inference_image="llama-inference:1", gateway_enabled=False)
    cluster = a_cluster(body)
    await a_reconciler(cluster).reconcile(KEY)
    gateway = names.gateway(KEY.name)
    assert gateway in [obj["metadata"]["name"] for obj in cluster.stored("Deployment")]
    cluster.calls.clear()
    await a_reconciler(cluster, settings).reconcile(KEY)
    assert [obj["metadata"]["name"] for obj in cluster.stored("Deployment")] == [KEY.name]
    assert not {"Role", "RoleBinding", "Lease"} & {call.kind for call in cluster.calls}
    (service,) = cluster.stored("Service")
    assert service["spec"]["selector"] == names.pod_selector(KEY.name)
    assert answer(cluster, "Degraded") == "True GatewayDisabled"
    assert answer(cluster, "Accepted") == "True SpecValid"


async def test_a_missing_right_is_told_in_the_status() -> None:
    """With the API server's words; what runs keeps its conditions, and it is tried again."""
    cluster = a_cluster(a_body())
    await a_reconciler(cluster).reconcile(KEY)
    before = status(cluster)
    cluster.refuse("get", "Secret", ClusterError("secrets is forbidden", status=403))
    assert await a_reconciler(cluster).reconcile(KEY) == 15.0
    assert answer(cluster, "Accepted") == "False OperatorForbidden"
    assert "(secrets is forbidden): install the chart" in str(status(cluster)["conditions"])
    kept = ("PodsScheduled", "ModelCached", "ModelLoaded", "Available")
    assert [row for row in status(cluster)["conditions"] if row["type"] in kept] == [
        row for row in before["conditions"] if row["type"] in kept
    ]
    cluster.refuse("get", "Secret", None)
    await a_reconciler(cluster).reconcile(KEY)
    assert answer(cluster, "Accepted") == "True SpecValid"


@pytest.mark.parametrize(("verb", "kind"), [("get", "LlamaDeployment"), ("list", "Pod"), ("apply", "Service")])
async def test_a_failing_api_server_fails_the_look(verb: str, kind: str) -> None:
    """No status is made of what could not be seen; the queue tries again."""
    cluster = a_cluster(a_body())
    cluster.refuse(verb, kind, ClusterError("away", status=500))
    with pytest.raises(ClusterError, match="away"):
        await a_reconciler(cluster).reconcile(KEY)
    assert "status" not in cluster.stored("LlamaDeployment")[0]


async def test_only_the_one_that_is_asked_for_is_touched() -> None:
    """Others of the namespace are another key's."""
    other = a_body()
    other["metadata"].update(name="other", uid="uid-other")
    cluster = a_cluster(a_body(), other)
    await a_reconciler(cluster).reconcile(Key(KEY.namespace, "other"))
    assert {obj["metadata"]["labels"]["llama-operator.dev/deployment"] for obj in cluster.stored("Service")} == {
        "other"
    }


async def test_a_wrong_token_makes_neither_pod_nor_volume_and_its_correction_suffices() -> None:
    """The Hub is asked with the token of the Secret, before anything is claimed."""
    cluster, hub = a_cluster(a_body(), a_secret("hf_wrong")), Hub(HubRefusal(reason="TokenRejected", words="no"))
    assert await a_reconciler(cluster, hub=hub).reconcile(KEY) is not None
    assert answer(cluster, "PreflightPassed") == "False TokenRejected"
    assert cluster.stored("Deployment") == cluster.stored("PersistentVolumeClaim") == []
    cluster.put(a_secret("hf_right"))
    hub.answer = LLAMA_70B
    await a_reconciler(cluster, hub=hub).reconcile(KEY)
    assert answer(cluster, "PreflightPassed") == "True ChecksPassed"
    assert len(cluster.stored("Deployment")) == 1
    assert [query.token.get_secret_value() for query in hub.asked if query.token] == ["hf_wrong", "hf_right"]
    written = repr([cluster.stored(kind) for kind in ("LlamaDeployment", "Deployment", "Event")])
    assert "hf_wrong" not in written
    assert "hf_right" not in written


def a_secret(token: str) -> dict[str, Any]:
    """The Secret with the Hub token."""
    metadata = {"name": "hf-access-token", "namespace": KEY.namespace}
    data = {"hf_access_token": base64.b64encode(token.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def test_what_runs_needs_no_hub() -> None:
    """It was asked when the pods were made; a branch that moves or a Hub that is away changes nothing."""
    cluster, hub = a_cluster(a_body()), Hub()
    for _ in range(2):
        await a_reconciler(cluster, hub=hub).reconcile(KEY)
    assert len(hub.asked) == 1
    cluster.calls.clear()
    hub.answer = replace(LLAMA_70B, commit="f" * 40)
    await a_reconciler(cluster, hub=hub).reconcile(KEY)
    assert len(hub.asked) == 1
    assert cluster.writes == []
    assert not {"Node", "StorageClass", "ResourceQuota"} & {call.kind for call in cluster.calls}


async def test_a_node_that_appears_later_lets_the_pods_be_made() -> None:
    """Nobody has to touch the LlamaDeployment."""
    node, storage_class = PROVISIONS
    cluster = FakeCluster(storage_class, a_body())
    await a_reconciler(cluster).reconcile(KEY)
    assert answer(cluster, "PreflightPassed") == "False NoMatchingNode"
    assert cluster.stored("Deployment") == []
    cluster.put(node)
    await a_reconciler(cluster).reconcile(KEY)
    assert answer(cluster, "PreflightPassed") == "True ChecksPassed"
    assert len(cluster.stored("Deployment")) == 1


async def test_switched_off_nothing_is_asked() -> None:
    """Neither the Hub nor the cluster."""
    cluster, hub = FakeCluster(a_body(preflight={"mode": "off"})), Hub()
    await a_reconciler(cluster, hub=hub).reconcile(KEY)
    assert hub.asked == []
    assert not {"Node", "StorageClass", "ResourceQuota"} & {call.kind for call in cluster.calls}
    assert len(cluster.stored("Deployment")) == 1
