"""From kubectl apply to kubectl delete: what was made comes back, changes with the spec, and goes with it."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import yaml

from llama_operator.names import pod_selector
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.predict import Answer, Server
from tests.support.served import GATED, TOKEN, small_llama, token_secret
from tools.generate import ROOT

pytestmark = pytest.mark.cluster
NAME = "llama"
SHORT = {"prompt": "Hello", "max_new_tokens": 16}


def selector(name: str = NAME) -> str:
    """The label selector of the pods."""
    return ",".join(f"{key}={value}" for key, value in pod_selector(name).items())


def available(space: Namespace, name: str = NAME) -> Server:
    """Wait until it serves; its Service."""
    space.condition(name, "Available", "True Serving", seconds=180)
    return Server(space.run("get", "service", name, "-o", "jsonpath={.spec.clusterIP}"))


@contextmanager
def callers(server: Server) -> Generator[list[Answer]]:
    """Ask again and again while the block runs; the answers, complete when it is over."""
    answers: list[Answer] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answers.append(server.predict(SHORT))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("kind", ["deployment", "service"])
def test_a_deleted_child_comes_back_and_serves(space: Namespace, kind: str) -> None:
    """Whoever deletes a part of it gets it back, under the same name, and it answers again."""
    space.apply(small_llama(NAME))
    available(space)
    uid = space.there(kind, NAME)["metadata"]["uid"]
    space.run("delete", kind, NAME, "--wait=false")
    eventually(f"another {kind}", lambda: (space.get(kind, NAME) or {}).get("metadata", {}).get("uid", uid) != uid)
    server = available(space)
    answer = eventually("it answers", lambda: _ok(server), seconds=120)
    assert len(answer.body["data"]) == 1


def _ok(server: Server) -> Answer | None:
    """An answer, or None while the Service leads nowhere."""
    try:
        answer = server.predict(SHORT)
    except OSError:
        return None
    return answer if answer.status == 200 else None


def test_an_edit_rolls_the_pods_and_no_caller_notices(space: Namespace) -> None:
    """The new default holds in the end, by new pods; meanwhile every request is answered."""
    space.apply(small_llama(NAME, generation={"defaults": {"num_beams": 1}}))
    server = available(space)
    old = {pod["metadata"]["uid"] for pod in space.list("pods", selector())}
    with callers(server) as answers:
        space.patch(LLAMA, NAME, {"spec": {"generation": {"defaults": {"num_beams": 2}}}})
        space.condition(NAME, "Progressing", "True RollingOut", seconds=30)
        space.condition(NAME, "Progressing", "False Settled", seconds=180)
    new = space.list("pods", selector())
    assert old.isdisjoint(pod["metadata"]["uid"] for pod in new if "deletionTimestamp" not in pod["metadata"])
    # For a moment the old pod, which takes requests until routing has noticed that it leaves, may still be asked.
    eventually("the new default", lambda: json.loads(server.get("/info")[1])["defaults"]["num_beams"] == 2)
    assert answers
    assert [answer.body for answer in answers if answer.status != 200] == []


def test_deleting_it_removes_all_but_a_retained_cache(space: Namespace) -> None:
    """Pods, Service, Deployment, ServiceAccount and volume go; the cache that was to stay is used again."""
    space.apply(small_llama("kept", cache={"size": "64Mi", "retain": True}))
    space.apply(small_llama("gone"))
    available(space, "kept")
    available(space, "gone")
    space.run("delete", LLAMA, "kept", "gone")
    for name in ("kept", "gone"):
        for kind in ("deployment", "service", "serviceaccount"):
            space.gone(kind, name)
        eventually("no pods", lambda name=name: not space.list("pods", selector(name)), seconds=120)
    space.gone("persistentvolumeclaim", "gone-cache")
    claim = space.there("persistentvolumeclaim", "kept-cache")["metadata"]["uid"]
    space.apply(small_llama("kept", cache={"size": "64Mi", "retain": True}))
    available(space, "kept")
    assert space.there("persistentvolumeclaim", "kept-cache")["metadata"]["uid"] == claim


def test_the_seventy_billion_claims_two_gpus_of_an_a100_node(space: Namespace) -> None:
    """The seed's case, its manifest as it is: gated model, token in the Secret, two A100s, predict answers."""
    space.apply(token_secret(TOKEN))
    space.apply(yaml.safe_load((ROOT / "manifests" / "samples" / "llama-2-70b.yaml").read_text()))
    server = available(space, "llama-2-70b")
    (pod,) = space.list("pods", selector("llama-2-70b"))
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "2"
    node = json.loads(space.run("get", "node", pod["spec"]["nodeName"], "-o", "json"))
    assert "A100" in node["metadata"]["labels"]["nvidia.com/gpu.product"]
    answer = server.predict({"prompt": "What is the meaning of life?", "max_new_tokens": 64})
    assert answer.status == 200
    assert answer.body["model"] == GATED


def test_more_gpus_than_any_node_has_stays_pending_and_says_so(space: Namespace) -> None:
    """The condition has the numbers, before a pod waits for what cannot be."""
    space.apply(small_llama(NAME, resources={"gpu": {"count": 64}}))
    failed = space.condition(NAME, "PreflightPassed", "False TooManyGpus")
    assert "wants 64 nvidia.com/gpu on one node, and the largest node has 8" in failed["message"]
    assert space.list("pods", selector()) == []
    row = space.run("get", "llama", NAME, "--no-headers").split()
    assert row[3:5] == ["0/1", "Pending"]


def test_a_pod_that_finds_no_node_stays_pending_and_says_so(space: Namespace) -> None:
    """Unchecked, to stand for a node that goes after the checks: the condition has the numbers all the same."""
    space.apply(small_llama(NAME, resources={"gpu": {"count": 64}}, preflight={"mode": "off"}))
    failed = space.condition(NAME, "PodsScheduled", "False TooManyGpus")
    assert "64" in failed["message"]
    assert "8" in failed["message"]
    (pod,) = space.list("pods", selector())
    assert pod["status"]["phase"] == "Pending"


def test_scaling_is_what_kubectl_scale_does(space: Namespace) -> None:
    """The scale subresource is what autoscalers use, too; to nothing keeps the cache, and back is quick."""
    space.apply(small_llama(NAME))
    available(space)
    space.run("scale", LLAMA, NAME, "--replicas=0")
    space.condition(NAME, "Available", "False Stopped")
    eventually("no pods", lambda: not space.list("pods", selector()), seconds=120)
    assert space.get("persistentvolumeclaim", f"{NAME}-cache") is not None
    space.run("scale", LLAMA, NAME, "--replicas=2")
    eventually("two ready", lambda: space.there(LLAMA, NAME)["status"]["ready"] == "2/2", seconds=180)
