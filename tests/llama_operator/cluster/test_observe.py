"""One look at a LlamaDeployment: whose objects are seen, what is asked for, what is never kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from llama_operator import names
from llama_operator.cluster.kinds import SECONDS, Kinds
from llama_operator.cluster.nodes import Nodes
from llama_operator.cluster.observe import Observer
from llama_operator.plan.observed import Key, Object, Ref, SecretFact, Usage
from tests.support.fake_cluster import FakeCluster
from tests.support.operator_objects import KEY, a_body, a_pod, applied, ready, running, stamp, unschedulable
from tests.support.usages import ToldUsages


class Asked:
    """Start-up reports that remember who was asked."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def of(self, pods: Sequence[Object]) -> Mapping[str, Object]:
        """Answer for each pod."""
        self.names += [pod["metadata"]["name"] for pod in pods]
        return {pod["metadata"]["name"]: {"stage": "Load"} for pod in pods}


def a_node(name: str = "node-1", *, unschedulable: bool = False) -> Object:
    """A node with eight A100s."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {names.LABEL_GPU_PRODUCT: "A100"}},
        "spec": {"unschedulable": True} if unschedulable else {},
        "status": {"allocatable": {"cpu": "64", "nvidia.com/gpu": "8"}},
    }


def a_secret(**data: str) -> Object:
    """A Secret as the API server gives it."""
    metadata = {"name": "hf-access-token", "namespace": KEY.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def here(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod in the namespace of the LlamaDeployment, with an address."""
    status = {**pod["status"], "podIP": "10.0.0.7"}
    return {**pod, "metadata": {**pod["metadata"], "namespace": KEY.namespace}, "status": status}


def up(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod running and not ready."""
    return here({**running(pod), "status": {**running(pod)["status"], "phase": "Running"}})


class Routed:
    """Nodes that refuse a Service, or do not, and remember that they were asked."""

    def __init__(self, *, refused: bool = False) -> None:
        self.asked: list[str] = []
        self._refused = refused

    async def refuses(self, service: Mapping[str, Any]) -> bool:
        """Answer."""
        self.asked.append(service["metadata"]["name"])
        return self._refused


async def look(
    cluster: FakeCluster,
    secret: str | None = None,
    asked: Asked | None = None,
    *,
    routes: Routed | None = None,
    usages: ToldUsages | None = None,
    body: Object | None = None,
    api_keys: str | None = None,
    shared: bool = False,
    gateway: bool = True,
) -> Any:
    """One look at `KEY`."""
    reads = (cluster, asked or Asked(), Nodes(cluster), routes or Routed(), usages or ToldUsages())
    observer = Observer(*reads, gateway=gateway)
    return await observer.observe(KEY, body or a_body(), secret, api_keys, shared=shared)


async def test_children_are_found_by_label_and_by_name() -> None:
    """An object with our name is seen whoever made it; others' labelled for another deployment are not."""
    service = next(obj for obj in applied() if obj["kind"] == "Service")
    foreign = {**service, "metadata": {"name": KEY.name, "namespace": KEY.namespace}}
    labelled = {**service, "metadata": {**service["metadata"], "name": "old"}}
    others = {**service, "metadata": {**service["metadata"], "name": "x", "labels": names.child_labels("other")}}
    elsewhere = {**service, "metadata": {**service["metadata"], "name": "y", "namespace": "other"}}
    seen = await look(FakeCluster(foreign, labelled, others, elsewhere))
    assert sorted(ref.name for ref in seen.children) == ["llama", "old"]


async def test_without_gateways_nothing_is_asked_that_only_they_have() -> None:
    """The operator may not, and would be refused."""
    cluster = FakeCluster()
    body = a_body(scaling={"minReplicas": 0})
    await look(cluster, body=body, gateway=False)
    kinds = {"Role", "RoleBinding", "Lease"}
    assert not kinds & {call.kind for call in cluster.calls}
    await look(cluster, body=body)
    assert kinds <= {call.kind for call in cluster.calls}


async def test_of_a_secret_only_its_keys_are_kept() -> None:
    """The value of a token never leaves the client."""
    seen = await look(FakeCluster(a_secret(hf_access_token="c2VjcmV0", other="c2VjcmV0")), "hf-access-token")
    assert seen.secret.keys == {"hf_access_token", "other"}
    assert seen.secret.exists
    assert "c2VjcmV0" not in repr(seen)


async def test_a_secret_that_is_not_there_is_a_fact() -> None:
    """And a Secret that nobody names is not asked for."""
    cluster = FakeCluster()
    assert (await look(cluster, "mine")).secret == SecretFact(name="mine", exists=False)
    cluster = FakeCluster(a_secret())
    assert (await look(cluster)).secret is None
    assert "Secret" not in {call.kind for call in cluster.calls}


async def test_only_running_unready_pods_are_asked_how_far_they_are() -> None:
    """A pod without an address, one that is going and one that is ready have nothing to tell."""
    asked = Asked()
    going = up(a_pod("going"))
    going["metadata"]["deletionTimestamp"] = "2026-11-24T08:00:00Z"
    pods = (up(a_pod("starts")), here(a_pod("pending")), here(ready(a_pod("ready"))), going)
    seen = await look(FakeCluster(*pods), asked=asked)
    assert asked.names == ["starts"]
    assert len(seen.pods) == 4
    assert seen.startup == {"starts": {"stage": "Load"}}


async def test_nodes_are_listed_while_a_pod_has_none() -> None:
    """Cordoned ones too: that they are may be why."""
    waits = here(unschedulable(a_pod(), "0/1 nodes"))
    seen = await look(FakeCluster(waits, a_node(), a_node("cordoned", unschedulable=True)))
    assert [(node.name, node.product, node.allocatable) for node in seen.nodes] == [
        ("node-1", "A100", {"cpu": "64", "nvidia.com/gpu": "8"}),
        ("cordoned", "A100", {"cpu": "64", "nvidia.com/gpu": "8"}),
    ]
    cluster = FakeCluster(up(a_pod()), a_node())
    assert (await look(cluster)).nodes == ()
    assert "Node" not in {call.kind for call in cluster.calls}


def a_warning(name: str, uid: str, at: str, kind: str = "Warning") -> Object:
    """An event about an object."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "type": kind,
        "metadata": {"name": name, "namespace": KEY.namespace},
        "involvedObject": {"uid": uid},
        "lastTimestamp": at,
    }


async def test_warnings_about_what_is_ours_are_seen_newest_first() -> None:
    """While something is not ready."""
    events = (
        a_warning("old", "uid-1", "2026-11-24T08:00:00Z"),
        a_warning("new", "uid-1", "2026-11-24T09:00:00Z"),
        a_warning("normal", "uid-1", "2026-11-24T09:00:00Z", "Normal"),
        a_warning("others", "uid-9", "2026-11-24T09:00:00Z"),
    )
    pod = up(a_pod())
    pod["metadata"]["uid"] = "uid-1"
    seen = await look(FakeCluster(pod, *events))
    assert [event["metadata"]["name"] for event in seen.events] == ["new", "old"]
    ready_pod = here(ready(a_pod()))
    ready_pod["metadata"]["uid"] = "uid-1"
    assert (await look(FakeCluster(ready_pod, *events))).events == ()


async def test_keys_are_those_of_the_served_namespaces() -> None:
    """All of them where none is named."""
    bodies = [{**a_body(), "metadata": {"name": "llama", "namespace": name}} for name in ("a", "b", "c")]
    observer = Observer(FakeCluster(*bodies), Asked(), Nodes(FakeCluster()), Routed(), ToldUsages())
    assert await observer.keys(("a", "c")) == [Key("a", "llama"), Key("c", "llama")]
    assert len(await observer.keys(())) == 3


def a_service() -> Object:
    """The predict Service."""
    return next(obj for obj in applied() if obj["kind"] == "Service")


async def test_a_service_that_is_refused_is_not_routed() -> None:
    """A pod is ready before the nodes send anybody to it."""
    pod = here(ready(a_pod()))
    assert not (await look(FakeCluster(pod, a_service()), routes=Routed(refused=True))).routed
    assert (await look(FakeCluster(pod, a_service()), routes=Routed())).routed


async def test_without_its_service_a_ready_pod_is_not_routed() -> None:
    """Somebody may have deleted it just now."""
    assert not (await look(FakeCluster(here(ready(a_pod()))))).routed


async def test_routes_are_tried_only_on_the_way_to_available() -> None:
    """Not before a pod is ready, and not any more once callers were let in."""
    routes = Routed(refused=True)
    assert (await look(FakeCluster(up(a_pod()), a_service()), routes=routes)).routed
    body = {**a_body(), "status": {"conditions": [{"type": "Available", "status": "True"}]}}
    cluster = FakeCluster(here(ready(a_pod())), a_service())
    assert (await Observer(cluster, Asked(), Nodes(cluster), routes, ToldUsages()).observe(KEY, body, None)).routed
    assert routes.asked == []


async def test_kinds_of_other_projects_are_looked_for_only_where_they_are_known() -> None:
    """A list of a kind that the API server does not know would be an error."""
    body = a_body(monitoring={"serviceMonitor": {"enabled": True}})
    monitor = next(obj for obj in applied(body) if obj["kind"] == "ServiceMonitor")
    cluster = FakeCluster(monitor)
    without = await look(cluster)
    assert (without.kinds, [ref.kind for ref in without.children]) == (frozenset(), [])
    assert not [call for call in cluster.calls if call.verb in ("get", "list") and call.kind == "ServiceMonitor"]
    cluster.served = {"ServiceMonitor"}
    found = await look(cluster)
    assert (found.kinds, [ref.kind for ref in found.children]) == ({"ServiceMonitor"}, ["ServiceMonitor"])


async def test_which_kinds_there_are_is_asked_now_and_then() -> None:
    """Not at each look: they come and go with whole projects."""
    cluster, now = FakeCluster(), [0.0]
    kinds = Kinds(cluster, clock=lambda: now[0])
    assert [await kinds.served(), await kinds.served()] == [(), ()]
    asked = len(cluster.calls)
    cluster.served = {"ServiceMonitor"}
    now[0] = SECONDS
    assert [resource.kind for resource in await kinds.served()] == ["ServiceMonitor"]
    assert len(cluster.calls) == 2 * asked


async def test_that_an_image_was_pulled_is_read_for_a_pod_that_is_not_ready() -> None:
    """It is no warning, and nothing else tells it; of a pod without a node, or that is ready, nobody asks."""
    pod = up(a_pod())
    pod["metadata"]["uid"] = "uid-of-pod"
    pulled = {**a_warning("pulled", "uid-of-pod", "2026-11-24T08:05:00Z", "Normal"), "reason": "Pulled"}
    other = {**a_warning("other", "uid-of-pod", "2026-11-24T08:05:00Z", "Normal"), "reason": "Created"}
    seen = await look(FakeCluster(pod, pulled, other))
    assert [event["metadata"]["name"] for event in seen.events] == ["pulled"]
    ready_pod = here(ready(a_pod()))
    ready_pod["metadata"]["uid"] = "uid-of-pod"
    assert (await look(FakeCluster(ready_pod, pulled))).events == ()


async def test_pods_are_asked_what_they_did_only_when_it_is_counted() -> None:
    """Once a minute, or when another pod holds GPUs; one without GPUs never."""
    pod = up(a_pod())
    limits = {"limits": {"nvidia.com/gpu": "2"}}
    pod["spec"]["containers"] = [{"name": names.CONTAINER, "resources": limits}]
    usages = ToldUsages({"llama-1": Usage(busy_seconds=1.0, tokens=2.0)})
    first = await look(FakeCluster(pod), usages=usages)
    assert first.usage == usages.told
    cost = {"asOf": stamp(first.now), "holders": [{"name": "llama-1", "gpus": 2}]}
    await look(FakeCluster(pod), usages=usages, body=a_body(status={"cost": cost}))
    await look(FakeCluster(up(a_pod())), usages=usages)
    assert usages.asked == [["llama-1"], [], []]


async def test_api_keys_are_those_of_the_selector_and_of_opaque_secrets() -> None:
    """What else is in the namespace is never read."""
    rows = (("mine", "Opaque", {"keys": "a"}), ("cert", "kubernetes.io/tls", {"keys": "a"}), ("other", "Opaque", {}))
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": KEY.namespace, "labels": labels},
            "type": kind,
        }
        for name, kind, labels in rows
    ]
    cluster = FakeCluster(a_body(), *secrets)
    seen = await look(cluster, api_keys="keys=a")
    assert [row["metadata"]["name"] for row in seen.key_secrets or ()] == ["mine"]


async def test_gateways_are_seen_where_they_read_keys() -> None:
    """To be told of a change; else nobody pays for the request."""
    metadata = {"name": "gateway", "namespace": KEY.namespace, "labels": names.gateway_selector(KEY.name)}
    cluster = FakeCluster({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    sleepy = a_body(scaling={"minReplicas": 0})
    seen = await look(cluster, body=sleepy, api_keys="keys=a")
    assert [pod["metadata"]["name"] for pod in seen.gateways] == ["gateway"]
    assert (await look(cluster, body=sleepy)).gateways == ()
    assert (await look(cluster, api_keys="keys=a")).gateways == ()


async def test_the_keys_of_a_spec_that_selects_none_any_more_are_seen() -> None:
    """They are to go, and no list tells of them; where no rollout had any, nothing is read."""
    with_keys = a_body(auth={"apiKeySecretSelector": {"matchLabels": {"keys": "a"}}})
    (note,) = [obj for obj in applied(with_keys) if obj["kind"] == "ControllerRevision"]
    metadata = {"name": names.api_keys(KEY.name), "namespace": KEY.namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    seen = await look(FakeCluster(note, secret))
    assert names.api_keys(KEY.name) in [ref.name for ref in seen.children]
    assert (await look(FakeCluster(secret))).children == {}


async def test_keys_that_were_compiled_before_any_rollout_had_them_are_seen() -> None:
    """While checks held the first rollout, or the one that was to bring them; nothing tells of them but their name."""
    metadata = {"name": names.api_keys(KEY.name), "namespace": KEY.namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    (note,) = [obj for obj in applied() if obj["kind"] == "ControllerRevision"]
    compiled = Ref("v1", "Secret", names.api_keys(KEY.name))
    held, edited = a_body(status={"observedGeneration": 3}), a_body(status={"observedGeneration": 2})
    assert compiled in (await look(FakeCluster(secret), body=held)).children
    assert compiled in (await look(FakeCluster(note, secret), body=edited)).children
    cluster = FakeCluster(note, secret)
    assert compiled not in (await look(cluster, body=held)).children
    assert "Secret" not in {call.kind for call in cluster.calls}, "a spec that was looked at costs no request"


async def test_shared_caches_are_looked_at_only_where_they_are_asked_for() -> None:
    """Each claim of such a name, whoever made it, with its Job and the pods that fill it."""
    labels = names.shared_labels()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "model-a", "namespace": KEY.namespace}}
    metadata = {"name": "model-a", "namespace": KEY.namespace, "labels": labels}
    pod = up(a_pod("model-a-x"))
    pod["metadata"] |= {"labels": labels, "uid": "uid-of-pod"}
    over = here(a_pod("model-a-y", phase="Succeeded"))
    over["metadata"] |= {"labels": labels, "uid": "uid-of-other"}
    foreign = {**claim, "metadata": {"name": "model-b", "namespace": KEY.namespace}}
    other = {**claim, "metadata": {"name": "data", "namespace": KEY.namespace}}
    cluster = FakeCluster({**claim, "metadata": metadata}, job, pod, over, foreign, other)
    assert (await look(cluster)).children == {}
    asked = Asked()
    seen = await look(cluster, asked=asked, shared=True)
    assert sorted(f"{ref.kind} {ref.name}" for ref in seen.children) == [
        "Job model-a",
        "PersistentVolumeClaim model-a",
        "PersistentVolumeClaim model-b",
    ]
    assert [pod["metadata"]["name"] for pod in seen.downloads] == ["model-a-x", "model-a-y"]
    assert asked.names == ["model-a-x"], "one that is over tells nothing any more"


async def test_shared_caches_are_looked_at_while_one_may_be_gone_back_to() -> None:
    """An older revision names one; revisions that a LeaderWorkerSet keeps with our labels hold no template of ours."""
    kind = {"apiVersion": "apps/v1", "kind": "ControllerRevision"}
    labels = names.child_labels(KEY.name)
    theirs = {**kind, "metadata": {"name": "g", "namespace": KEY.namespace, "labels": labels}, "data": {"spec": {}}}
    claim: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"{names.SHARED_PREFIX}a", "namespace": KEY.namespace},
    }
    assert len((await look(FakeCluster(theirs, claim))).children) == 1
    volume = {"name": "cache", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
    ours = {
        **kind,
        "metadata": {"name": "llama-r1", "namespace": KEY.namespace, "labels": labels},
        "data": {"template": {"spec": {"volumes": [volume]}}},
    }
    seen = await look(FakeCluster(theirs, ours, claim))
    assert sorted(ref.name for ref in seen.children) == ["g", "llama-r1", f"{names.SHARED_PREFIX}a"]


async def test_a_pod_that_has_just_become_ready_is_asked_once_more() -> None:
    """Its last stages may have passed between two looks; once it is told how long it took, nobody asks again."""
    pod = here(ready(a_pod()))
    for startup, asks in (({"podName": "llama-1"}, True), ({"podName": "llama-1", "seconds": 9.0}, False), ({}, False)):
        asked = Asked()
        await look(FakeCluster(pod), asked=asked, body=a_body(status={"startup": startup}))
        assert asked.names == (["llama-1"] if asks else [])
