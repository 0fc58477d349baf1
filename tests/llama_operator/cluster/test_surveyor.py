"""What preflight is told of a cluster: as much as there is, and as much as the operator may read."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from llama_operator.cluster.hub import HubQuery
from llama_operator.cluster.nodes import SECONDS, Nodes
from llama_operator.cluster.surveyor import Surveyor
from llama_operator.errors import ClusterError
from llama_operator.plan.observed import Key, NodeOffer
from llama_operator.plan.survey import HubAnswer, HubRefusal, Question, Survey
from tests.support.fake_cluster import FakeCluster

KEY = Key("models", "llama")
QUESTION = Question(
    endpoint="http://hub", repo="acme/llama", revision="main", secret=("hf-access-token", "hf_access_token")
)
REFUSAL = HubRefusal(reason="TokenMissing", words="no")


class Hub:
    """Keeps what it is asked, and refuses."""

    def __init__(self) -> None:
        self.asked: list[HubQuery] = []

    async def of(self, query: HubQuery) -> HubAnswer:
        """Refuse."""
        self.asked.append(query)
        return REFUSAL

    @property
    def token(self) -> str | None:
        """The token of the one question."""
        (query,) = self.asked
        return query.token.get_secret_value() if query.token else None


def an_object(kind: str, name: str, namespace: str | None = None, **fields: Any) -> dict[str, Any]:
    """An object of the core group, or of storage's."""
    api = "storage.k8s.io/v1" if kind == "StorageClass" else "v1"
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **fields}


def a_secret(name: str, **data: bytes) -> dict[str, Any]:
    """A Secret in the namespace of the LlamaDeployment."""
    return an_object(
        "Secret", name, "models", data={key: base64.b64encode(value).decode() for key, value in data.items()}
    )


def a_class(name: str, *, default: bool = False) -> dict[str, Any]:
    """A StorageClass."""
    found = an_object("StorageClass", name)
    if default:
        found["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    return found


def a_volume(name: str, phase: str, storage_class: str | None) -> dict[str, Any]:
    """A PersistentVolume."""
    return an_object("PersistentVolume", name, spec={"storageClassName": storage_class}, status={"phase": phase})


async def survey(cluster: FakeCluster, hub: Hub | None = None, question: Question = QUESTION) -> Survey:
    """What is found out about a cluster."""
    return await Surveyor(cluster, hub or Hub(), Nodes(cluster)).survey(KEY, question)


async def test_the_facts_are_those_of_the_namespace_and_of_the_cluster() -> None:
    """Quotas and limit ranges of other namespaces are not ours."""
    taint = {"key": "team", "effect": "NoSchedule"}
    node = an_object("Node", "node-1", spec={"taints": [taint]}, status={"allocatable": {"nvidia.com/gpu": "8"}})
    node["metadata"]["labels"] = {"zone": "a"}
    cluster = FakeCluster(
        node,
        an_object("ResourceQuota", "ours", "models", spec={"hard": {"pods": "1"}}),
        an_object("ResourceQuota", "theirs", "others", spec={"hard": {"pods": "0"}}),
        an_object("LimitRange", "bounds", "models", spec={"limits": []}),
        a_class("standard", default=True),
        a_class("fast"),
    )
    found = await survey(cluster)
    assert found.model == REFUSAL
    assert found.nodes == (
        NodeOffer(name="node-1", labels={"zone": "a"}, taints=(taint,), allocatable={"nvidia.com/gpu": "8"}),
    )
    assert [row["metadata"]["name"] for row in found.quotas or ()] == ["ours"]
    assert [row["metadata"]["name"] for row in found.limit_ranges or ()] == ["bounds"]
    assert found.storage_classes == {"fast": False, "standard": True}


@pytest.mark.parametrize(
    ("written", "token"), [(b"hf_token\n", "hf_token"), (b"", None), (b" \n", None), (b"\xff", "�")]
)
async def test_the_hub_is_asked_with_the_token_of_the_secret(written: bytes, token: str | None) -> None:
    """As the server reads it from its file: an empty one is none; what is no text the Hub's client will refuse."""
    hub = Hub()
    await survey(FakeCluster(a_secret("hf-access-token", hf_access_token=written)), hub)
    assert hub.token == token


@pytest.mark.parametrize("secrets", [(), (a_secret("hf-access-token", other=b"hf_token"),)])
async def test_without_a_token_the_hub_is_asked_without_one(secrets: tuple[dict[str, Any], ...]) -> None:
    """A public model needs none."""
    hub = Hub()
    await survey(FakeCluster(*secrets), hub)
    assert hub.token is None


async def test_pull_secrets_that_are_missing_are_named() -> None:
    """Of those that the pods would use."""
    cluster = FakeCluster(a_secret("registry"))
    found = await survey(
        cluster,
        question=Question(
            endpoint="http://hub", repo="a/b", revision="main", secret=("x", "y"), pull_secrets=("registry", "mirror")
        ),
    )
    assert found.absent_secrets == {"mirror"}


async def test_volumes_made_by_hand_are_looked_for_where_no_class_serves() -> None:
    """And nowhere else: there may be thousands."""
    volumes = (
        a_volume("taken", "Bound", "old"),
        a_volume("free", "Available", "manual"),
        a_volume("plain", "Available", None),
    )
    without = FakeCluster(*volumes)
    assert (await survey(without)).volume_classes == {"manual", ""}
    served = FakeCluster(*volumes, a_class("standard", default=True))
    assert (await survey(served)).volume_classes == frozenset()
    assert "PersistentVolume" not in {call.kind for call in served.calls}


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        ("Node", "nodes"),
        ("ResourceQuota", "quotas"),
        ("LimitRange", "limit_ranges"),
        ("StorageClass", "storage_classes"),
    ],
)
async def test_what_may_not_be_read_is_not_known(kind: str, fact: str) -> None:
    """Anything else than a missing right is an error, to be tried again."""
    cluster = FakeCluster()
    cluster.refuse("list", kind, ClusterError("forbidden", status=403))
    assert getattr(await survey(cluster), fact) is None
    cluster.refuse("list", kind, ClusterError("no answer"))
    with pytest.raises(ClusterError):
        await survey(cluster)


async def test_nodes_are_listed_once_for_all_who_ask_within_seconds() -> None:
    """A hundred that wait for a node are one list, and a new node is seen soon."""
    clock = 0.0
    cluster = FakeCluster()
    nodes = Nodes(cluster, clock=lambda: clock)
    assert await nodes.list() == await nodes.list() == ()
    assert len(cluster.calls) == 1
    cluster.put(an_object("Node", "node-1"))
    clock = SECONDS
    assert [node.name for node in await nodes.list()] == ["node-1"]


async def test_room_is_what_is_there_and_what_runs_in_all_namespaces() -> None:
    """Pods that hold something: on a node, and not ended."""
    pods = [
        an_object("Pod", name, "others", spec={"nodeName": node} if node else {}, status={"phase": phase})
        for name, node, phase in (("runs", "n", "Running"), ("waits", "", "Pending"), ("over", "n", "Succeeded"))
    ]
    sidecar = {"name": "engine", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    pods[0]["spec"] |= {"initContainers": [sidecar | {"image": "acme/engine"}], "containers": [{"name": "server"}]}
    cluster = FakeCluster(an_object("Node", "n"), *pods)
    found = await Surveyor(cluster, Hub(), Nodes(cluster)).room(KEY)
    # Of tens of thousands of pods no more is kept than what they take, and where.
    spec = {"nodeName": "n", "containers": [{"name": "server"}], "initContainers": [sidecar]}
    assert found.pods == ({"spec": spec, "status": {"phase": "Running"}},)
    assert [node.name for node in found.nodes or ()] == ["n"]
    cluster.refuse("list", "Pod", ClusterError("forbidden", status=403))
    assert (await Surveyor(cluster, Hub(), Nodes(cluster)).room(KEY)).pods is None


async def test_without_a_hub_none_is_asked_and_the_volume_is_looked_for() -> None:
    """Its name is all that is asked."""
    hub = Hub()
    question = replace(QUESTION, asks_hub=False, volume="weights")
    for objects, there in (((), False), ((an_object("PersistentVolumeClaim", "weights", "models"),), True)):
        cluster = FakeCluster(*objects)
        assert (await Surveyor(cluster, hub, Nodes(cluster)).survey(KEY, question)).volume_there is there
    assert hub.asked == []


async def test_classes_that_pods_name_are_looked_for_and_no_others() -> None:
    """One that is there, one that is not; where none is named nothing is asked."""
    there = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}}
    cluster = FakeCluster(there)
    asked = replace(QUESTION, priority_class="high", runtime_class="nvidia")
    found = await Surveyor(cluster, Hub(), Nodes(cluster)).survey(KEY, asked)
    assert found.absent_classes == {"nvidia"}
    cluster = FakeCluster()
    assert (await Surveyor(cluster, Hub(), Nodes(cluster)).survey(KEY, QUESTION)).absent_classes == frozenset()
    assert not {"PriorityClass", "RuntimeClass"} & {call.kind for call in cluster.calls}
