"""What the operator makes of a LlamaDeployment, and that it leaves alone what needs nothing."""

import base64
from typing import Any

import pytest

from llama_operator.names import API_VERSION, KIND, child_labels
from tests.integration.hub import REPO, TOKEN, checked
from tests.integration.operator_process import OperatorProcess
from tests.integration.proxy import ApiProxy, Request
from tests.support.cluster import LLAMA, Namespace, a_llama, eventually
from tests.support.kubectl import kubectl_ok

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

CHILDREN = ("serviceaccount", "persistentvolumeclaim", "service", "deployment")


def child(kind: str, name: str = "llama") -> tuple[str, str]:
    """Kind and name of a child."""
    return kind, f"{name}-cache" if kind == "persistentvolumeclaim" else name


def versions(space: Namespace) -> dict[str, str]:
    """The versions of all children and of the LlamaDeployment."""
    found = {kind: space.there(*child(kind)) for kind in CHILDREN} | {"llama": space.there(LLAMA, "llama")}
    return {kind: obj["metadata"]["resourceVersion"] for kind, obj in found.items()}


def settled(space: Namespace, **spec: Any) -> dict[str, Any]:
    """Apply a LlamaDeployment without replicas, and wait until nothing is left to do."""
    space.apply(a_llama(replicas=0, **spec))
    space.condition("llama", "Progressing", "False Stopped")
    eventually("the Deployment is seen", lambda: (space.get(LLAMA, "llama") or {})["status"].get("engineImage"))
    return space.there(LLAMA, "llama")


def quiet(api: ApiProxy, space: Namespace, renewals: int = 1) -> list[Request]:
    """What is asked about a namespace while the Lease is renewed so often, two seconds each."""
    before, asked = len(api.writes("/leases/shared")), len(api.about(space.name))
    eventually("the Lease is renewed", lambda: len(api.writes("/leases/shared")) >= before + renewals)
    return api.about(space.name)[asked:]


def test_a_llamadeployment_gets_its_objects(space: Namespace) -> None:
    """Each owned by it, so that it goes with it, and labelled, so that it is found."""
    space.apply(a_llama())
    for kind in CHILDREN:
        made = space.there(*child(kind))
        uid = space.there(LLAMA, "llama")["metadata"]["uid"]
        assert made["metadata"]["ownerReferences"] == [
            {"apiVersion": API_VERSION, "kind": KIND, "name": "llama", "uid": uid, "controller": True}
        ]
        assert child_labels("llama").items() <= made["metadata"]["labels"].items()
    pods = eventually("there is a pod", lambda: space.list("pod", "app.kubernetes.io/instance=llama"))
    assert pods[0]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def test_the_status_and_its_columns_say_how_it_is(space: Namespace) -> None:
    """`kubectl get` shows one line, `kubectl describe` the story."""
    space.apply(a_llama())
    row = space.condition("llama", "PodsScheduled", "False NoMatchingNode")
    assert "spec.scheduling" in row["message"]
    space.condition("llama", "Degraded", "True NoMatchingNode")
    head, line = space.run("get", LLAMA, "llama").splitlines()
    assert head.split() == ["NAME", "MODEL", "ENGINE", "READY", "PHASE", "ETA", "AGE"]
    assert line.split()[:5] == ["llama", "org/tiny", "native", "0/1", "Pending"]
    wide = space.run("get", LLAMA, "llama", "-o", "wide")
    assert f"http://llama.{space.name}.svc/predict" in wide
    told = eventually("the story is told", lambda: _told(space, "NoMatchingNode"))
    assert "Applied" in told
    assert "applied ServiceAccount llama, PersistentVolumeClaim llama-cache, Service llama, Deployment llama" in told
    for words in ("SpecValid", "ChecksOff", row["message"]):
        assert words in told


def _told(space: Namespace, reason: str) -> str | None:
    """What `kubectl describe` says, once it has an event of this reason."""
    story = space.run("describe", LLAMA, "llama")
    return story if reason in story.partition("Events:")[2] else None


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_deleted_child_comes_back(space: Namespace, kind: str) -> None:
    """Somebody's slip is mended at once."""
    settled(space)
    old = space.there(*child(kind))["metadata"]["uid"]
    space.run("delete", *child(kind), "--wait=false")
    eventually(
        f"the {kind} is back", lambda: (space.get(*child(kind)) or {"metadata": {"uid": old}})["metadata"]["uid"] != old
    )


def test_a_child_changed_by_hand_is_put_right(space: Namespace) -> None:
    """What the spec says holds; what others added stays."""
    settled(space)
    theirs = {"metadata": {"annotations": {"mine": "1"}}, "spec": {"selector": {"app.kubernetes.io/name": "other"}}}
    space.patch("service", "llama", theirs)

    def selected() -> str:
        return space.there("service", "llama")["spec"]["selector"]["app.kubernetes.io/name"]

    eventually("the selector is back", lambda: selected() == "llama-inference", shows=selected)
    assert space.there("service", "llama")["metadata"]["annotations"]["mine"] == "1"


def test_a_port_changed_by_hand_is_put_right(space: Namespace) -> None:
    """To the API server it is another port, and two of one name cannot be."""
    settled(space)
    ports = space.there("service", "llama")["spec"]["ports"]
    space.patch("service", "llama", {"spec": {"ports": [{**ports[0], "port": 81}]}})

    def now() -> list[int]:
        return [row["port"] for row in space.there("service", "llama")["spec"]["ports"]]

    eventually("the port is back", lambda: now() == [80], shows=now)
    space.condition("llama", "Accepted", "True SpecValid")


def test_an_edit_reaches_the_pods_template(space: Namespace) -> None:
    """The status says which generation it is about."""
    settled(space)
    space.patch(LLAMA, "llama", {"spec": {"engine": {"dtype": "float32"}}})

    def env() -> bool:
        container = space.there("deployment", "llama")["spec"]["template"]["spec"]["containers"][0]
        return {"name": "LLAMA_INFERENCE_DTYPE", "value": "float32"} in container["env"]

    eventually("the template has the new type", env)
    eventually("the status is about it", lambda: space.there(LLAMA, "llama")["status"]["observedGeneration"] == 2)


def test_it_scales(space: Namespace) -> None:
    """`kubectl scale` sets replicas; autoscalers read the count and the selector."""
    settled(space)
    space.run("scale", LLAMA, "llama", "--replicas=2")
    eventually("two pods are wanted", lambda: space.there("deployment", "llama")["spec"]["replicas"] == 2)
    eventually("two pods are counted", lambda: space.there(LLAMA, "llama")["status"]["replicas"] == 2)
    scale = space.run(
        "get", "--raw", f"/apis/{API_VERSION}/namespaces/{space.name}/{LLAMA.partition('.')[0]}/llama/scale"
    )
    assert '"replicas":2' in scale
    assert "app.kubernetes.io/instance=llama" in scale


def test_nothing_is_written_where_nothing_changed(space: Namespace, api: ApiProxy) -> None:
    """A look at a settled deployment is reads alone, and without a cause there is none."""
    settled(space)
    eventually("the last of its events is done with", lambda: not quiet(api, space))
    assert quiet(api, space) == []
    before, asked = versions(space), len(api.about(space.name))
    space.run("label", LLAMA, "llama", "mine=1")
    eventually("it is looked at", lambda: len(api.about(space.name)) > asked)
    quiet(api, space)
    assert [request for request in api.about(space.name)[asked:] if request.writes] == []
    assert {**versions(space), "llama": ""} == {**before, "llama": ""}


def test_the_status_is_written_once_for_each_step(space: Namespace, api: ApiProxy) -> None:
    """First what was applied, then what became of it; waiting goes on without a write."""
    space.apply(a_llama(preflight={}, model={"repo": "org/tiny", "tokenSecretRef": {"name": "mine"}}))
    space.condition("llama", "PreflightPassed", "False SecretNotFound")
    asked = quiet(api, space, renewals=3)
    assert [request for request in asked if request.writes and "events" not in request.path] == []
    assert 1 <= sum(request.path.endswith("/secrets/mine") for request in asked) <= 8
    assert len(api.writes(space.name, "/status")) <= 2


def test_a_secret_that_is_created_later_is_noticed(space: Namespace) -> None:
    """No pod is made before; nobody has to touch the LlamaDeployment."""
    space.apply(checked(model={"repo": REPO, "tokenSecretRef": {"name": "mine", "key": "token"}}))
    row = space.condition("llama", "PreflightPassed", "False SecretNotFound")
    assert "kubectl create secret generic mine --from-file=token=FILE" in row["message"]
    assert space.get("deployment", "llama") is None
    space.run("create", "secret", "generic", "mine", "--from-literal=other=x")
    row = space.condition("llama", "PreflightPassed", "False SecretKeyNotFound")
    assert "no key token, but the key other" in row["message"]
    space.patch("secret", "mine", {"stringData": {"token": TOKEN}})
    space.condition("llama", "PreflightPassed", "True ChecksPassed")
    space.there("deployment", "llama")


def test_a_token_is_nowhere_to_be_read(space: Namespace, operator: OperatorProcess) -> None:
    """Not in the log, though it says everything, nor in any object but the Secret; the Hub has seen it."""
    token = TOKEN
    space.run("create", "secret", "generic", "mine", f"--from-literal=token={token}")
    space.apply(checked(model={"repo": REPO, "tokenSecretRef": {"name": "mine", "key": "token"}}))
    space.condition("llama", "PreflightPassed", "True ChecksPassed")
    space.there("deployment", "llama")
    kinds = f"{LLAMA},deployments,replicasets,pods,services,serviceaccounts,persistentvolumeclaims,events"
    seen = space.run("get", kinds, "-o", "yaml") + operator.said + operator.read("/metrics")
    assert f"{space.name}/llama" in operator.said
    for form in (token, base64.b64encode(token.encode()).decode()):
        assert form not in seen


def test_a_foreign_service_is_never_adopted(space: Namespace) -> None:
    """The condition names it; once it is gone, ours is made."""
    ports = [{"port": 5432}]
    space.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "llama"}, "spec": {"ports": ports}})
    space.apply(a_llama())
    row = space.condition("llama", "Accepted", "False NameTaken")
    assert "Service llama belongs to somebody else" in row["message"]
    assert "kubectl delete service llama" in row["message"]
    foreign = space.there("service", "llama")
    assert "ownerReferences" not in foreign["metadata"]
    assert foreign["spec"]["ports"][0]["port"] == 5432
    assert space.get("deployment", "llama") is None
    assert space.get("persistentvolumeclaim", "llama-cache") is None
    space.run("delete", "service", "llama")
    space.patch(LLAMA, "llama", {"metadata": {"labels": {"look": "again"}}})
    space.condition("llama", "Accepted", "True SpecValid")
    assert space.there("service", "llama")["spec"]["ports"][0]["port"] == 80


def test_deleting_it_deletes_all_of_it(space: Namespace) -> None:
    """No finalizer holds it; the garbage collector takes the rest."""
    settled(space)
    assert "finalizers" not in space.there(LLAMA, "llama")["metadata"]
    space.run("delete", LLAMA, "llama")
    for kind in CHILDREN:
        space.gone(*child(kind))


def test_a_retained_cache_outlives_it_and_is_taken_up(space: Namespace) -> None:
    """With what is in it."""
    settled(space, cache={"size": "1Gi", "retain": True})
    uid = space.there("persistentvolumeclaim", "llama-cache")["metadata"]["uid"]
    space.run("delete", LLAMA, "llama")
    space.gone("deployment", "llama")
    settled(space)
    claim = space.there("persistentvolumeclaim", "llama-cache")
    assert claim["metadata"]["uid"] == uid
    owner = space.there(LLAMA, "llama")["metadata"]["uid"]
    eventually(
        "it is owned again",
        lambda: (
            [row["uid"] for row in space.there(*child("persistentvolumeclaim"))["metadata"].get("ownerReferences", ())]
            == [owner]
        ),
    )


def test_one_created_again_at_once_comes_to_serve(space: Namespace) -> None:
    """It waits for what is left of the last one, and takes nothing of it."""
    settled(space)
    space.run("delete", LLAMA, "llama", "--wait=false")
    space.run("apply", "-f", "-", stdin=a_llama(replicas=0))
    uid = eventually(
        "the new one is there", lambda: (space.get(LLAMA, "llama") or {"metadata": {}})["metadata"].get("uid")
    )

    def owned() -> bool:
        found = [space.get(*child(kind)) for kind in CHILDREN]
        return all(obj is not None and obj["metadata"]["ownerReferences"][0]["uid"] == uid for obj in found)

    eventually("all objects are the new one's", owned, seconds=45)


def test_more_gpus_than_any_node_has_are_told_with_numbers(space: Namespace) -> None:
    """What is wanted, what the largest node has, and what to do."""
    nodes = kubectl_ok("get", "nodes", "-o", r"jsonpath={.items[*].status.allocatable.nvidia\.com/gpu}").split()
    largest = max(map(int, nodes))
    space.apply(a_llama(resources={"gpu": {"count": largest + 1}}, scheduling={}))
    row = space.condition("llama", "PodsScheduled", "False TooManyGpus")
    assert row["message"] == (
        f"a replica wants {largest + 1} nvidia.com/gpu on one node, and the largest node has {largest}: "
        f"lower spec.resources.gpu.count to {largest}, or add a node with {largest + 1}"
    )
    assert space.there(LLAMA, "llama")["status"]["phase"] == "Pending"


def test_what_the_api_server_refuses_is_told_in_its_words(space: Namespace) -> None:
    """The field of the Deployment, so that the user finds the one in podTemplate."""
    space.apply(a_llama(podTemplate={"spec": {"restartPolicy": "Sometimes"}}))
    row = space.condition("llama", "Accepted", "False ObjectRefused")
    assert "the API server refuses Deployment llama" in row["message"]
    assert "restartPolicy" in row["message"]
    space.patch(LLAMA, "llama", {"spec": {"podTemplate": None}})
    space.condition("llama", "Accepted", "True SpecValid")


def test_what_cannot_be_merged_is_told_by_its_path(space: Namespace) -> None:
    """The CRD leaves the pod template open, the operator does not stumble over it."""
    space.apply(a_llama(podTemplate={"spec": {"volumes": [{"emptyDir": {}}]}}))
    row = space.condition("llama", "Accepted", "False InvalidSpec")
    assert row["message"].startswith("spec.podTemplate.spec.volumes[0]: it needs the field name")
