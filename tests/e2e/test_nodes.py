"""A model over two nodes: a LeaderWorkerSet by its real controller, and what is said where there is none."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.kubectl import kubectl_ok
from tests.support.leaderworkersets import DEFINITION, leader_worker_sets
from tests.support.predict import Server
from tests.support.served import CRASHING, small_llama

pytestmark = pytest.mark.cluster
NAME = "llama"
GROUP = f"{NAME}-nodes"
PODS = f"app.kubernetes.io/instance={NAME}"
INDEX = "leaderworkerset.sigs.k8s.io/worker-index"


def over_two_nodes(**spec: Any) -> dict[str, Any]:
    """A small model, each replica one GPU on each of two nodes: here, two pods of the one node."""
    gpu = {"count": 1, "nodes": 2}
    resources = {"gpu": gpu, "cpu": "200m", "memory": "256Mi", "sharedMemory": "64Mi"}
    # A worker follows whoever leads until it is killed: short, for a group is made anew only once it is gone.
    return small_llama(NAME, resources=resources, terminationGracePeriodSeconds=10, **spec)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """LeaderWorkerSet in the cluster."""
    with leader_worker_sets(tmp_path_factory.mktemp("leaderworkersets")):
        yield


def test_without_leaderworkersets_it_is_said_what_to_install(space: Namespace) -> None:
    """Before the controller is there: no pod, and the condition names what is missing."""
    if kubectl_ok("get", "crd", DEFINITION, "--ignore-not-found"):
        pytest.skip("the cluster has LeaderWorkerSet")
    space.apply(over_two_nodes())
    row = space.condition(NAME, "Accepted", "False KindNotInstalled")
    assert "install LeaderWorkerSet (https://lws.sigs.k8s.io)" in row["message"]
    assert space.list("pods", PODS) == []


def test_two_nodes_serve_one_model_and_the_leader_answers(controller: None, space: Namespace) -> None:
    """Each knows its number and its leader, to which the Service leads; an edit, a scale, a deletion reach them all."""
    space.apply(over_two_nodes())
    space.condition(NAME, "Available", "True Serving", seconds=240)
    pods = {pod["metadata"]["labels"][INDEX]: pod for pod in space.list("pods", PODS)}
    assert sorted(pods) == ["0", "1"]
    status = space.there(LLAMA, NAME)["status"]
    assert (status["ready"], status["replicas"]) == ("1/1", 1)
    for index, pod in pods.items():
        env = {row["name"]: row.get("value") for row in pod["spec"]["containers"][0]["env"]}
        assert env["LWS_WORKER_INDEX"] == index
        assert env["LWS_LEADER_ADDRESS"] == f"{GROUP}-0.{GROUP}.{space.name}"
        assert env["LLAMA_INFERENCE_NODES"] == "2"
    slices = space.list("endpointslices", f"kubernetes.io/service-name={NAME}")
    addresses = {address for row in slices for end in row.get("endpoints") or () for address in end["addresses"]}
    assert addresses == {pods["0"]["status"]["podIP"]}
    server = Server(space.run("get", "service", NAME, "-o", "jsonpath={.spec.clusterIP}"))
    answer = server.predict({"prompt": "Hello", "max_new_tokens": 16})
    assert answer.status == 200, answer.body
    space.condition(NAME, "Progressing", "False Settled", seconds=60)
    assert sum(row["gpus"] for row in space.there(LLAMA, NAME)["status"]["cost"]["holders"]) == 2
    before = {pod["metadata"]["uid"] for pod in pods.values()}
    space.patch(LLAMA, NAME, {"spec": {"generation": {"defaults": {"num_beams": 2}}}})
    space.condition(NAME, "Progressing", "True RollingOut", seconds=60)
    space.condition(NAME, "Progressing", "False Settled", seconds=240)
    after = {pod["metadata"]["uid"] for pod in space.list("pods", PODS) if "deletionTimestamp" not in pod["metadata"]}
    assert len(after) == 2
    assert before.isdisjoint(after)
    space.run("scale", LLAMA, NAME, "--replicas=0")
    space.condition(NAME, "Available", "False Stopped", seconds=120)
    eventually("no pods", lambda: not space.list("pods", PODS), seconds=150)
    space.run("delete", LLAMA, NAME)
    space.gone(DEFINITION, GROUP)


def test_a_group_that_is_never_ready_goes_back_at_its_deadline(controller: None, space: Namespace) -> None:
    """Its pods find no node, which no container tells: time alone ends the rollout, and what served serves again."""
    space.apply(over_two_nodes())
    space.condition(NAME, "Progressing", "False Settled", seconds=240)
    nowhere = {"scheduling": {"nodeSelector": {"llama-operator.dev/test": "nowhere"}}, "preflight": {"mode": "off"}}
    space.patch(LLAMA, NAME, {"spec": {**nowhere, "rollout": {"progressDeadlineSeconds": 10}}})
    degraded = space.condition(NAME, "Degraded", "True RolledBack", seconds=120)
    assert "DeadlineExceeded" in degraded["message"]
    space.condition(NAME, "Progressing", "False Settled", seconds=120)
    space.condition(NAME, "Available", "True Serving")
    assert space.there(LLAMA, NAME)["status"]["history"][0]["outcome"] == "RolledBack"


def test_a_group_that_crashes_in_a_loop_goes_back_before_its_deadline(controller: None, space: Namespace) -> None:
    """Each crash makes its pods anew, so no container counts them; the operator does."""
    space.apply(over_two_nodes())
    space.condition(NAME, "Progressing", "False Settled", seconds=240)
    space.patch(LLAMA, NAME, {"spec": CRASHING})
    degraded = space.condition(NAME, "Degraded", "True RolledBack", seconds=240)
    assert "Crashing" in degraded["message"]
    failed = space.there(LLAMA, NAME)["status"]["history"][0]
    assert (failed["outcome"], failed["reason"]) == ("RolledBack", "Crashing")
    assert "its group was made anew 2 times before" in failed["message"]
    space.condition(NAME, "Progressing", "False Settled", seconds=240)
    space.condition(NAME, "Available", "True Serving")
