"""Will it run? Told before a pod or a volume is made; and once the cause is gone, nobody has to touch it again."""

import json
from typing import Any
from uuid import uuid4

import pytest

from llama_operator.names import LABEL_GPU_PRODUCT
from tests.support import models
from tests.support.cluster import LLAMA, Namespace
from tests.support.hub.remote import RemoteHub
from tests.support.kubectl import kubectl_ok
from tests.support.nodes import another_node
from tests.support.served import small_llama

pytestmark = pytest.mark.cluster
NAME = "llama"
PODS = f"app.kubernetes.io/instance={NAME}"


def held(space: Namespace, reason: str) -> str:
    """Wait until it is told for which reason it cannot run, with nothing claimed; the message."""
    message = space.condition(NAME, "PreflightPassed", f"False {reason}")["message"]
    assert space.list("pods", PODS) == []
    assert space.get("persistentvolumeclaim", f"{NAME}-cache") is None
    return message


def serves(space: Namespace) -> None:
    """Wait until it answers."""
    space.condition(NAME, "PreflightPassed", "True ChecksPassed", seconds=60)
    space.condition(NAME, "Available", "True Serving", seconds=180)


def test_a_revision_that_does_not_exist_is_named_and_once_it_does_it_is_served(
    space: Namespace, hub: RemoteHub
) -> None:
    """The pods load the commit that the branch was resolved to, and the status has it."""
    branch = f"v-{uuid4().hex[:8]}"
    space.apply(small_llama(NAME, model={"repo": models.TINY, "revision": branch}))
    assert f"{models.TINY} has no revision {branch}" in held(space, "RevisionNotFound")
    commit = hub.add_repo(models.TINY, models.TINY, revision=branch)
    serves(space)
    assert space.there(LLAMA, NAME)["status"]["revision"]["commit"] == commit
    (pod,) = space.list("pods", PODS)
    env = {row["name"]: row.get("value") for row in pod["spec"]["containers"][0]["env"]}
    assert env["LLAMA_INFERENCE_REVISION"] == commit


def test_a_model_that_does_not_fit_is_told_with_numbers_and_its_advice_holds(space: Namespace) -> None:
    """Weights are the smallest part: four thousand sequences are too many, and the message says how many are not."""
    space.apply(small_llama(NAME, models.SMOLLM2, engine={"maxConcurrentSequences": 4000}, cache={"size": "1Gi"}))
    message = held(space, "ModelDoesNotFit")
    assert "in float16 needs" in message
    assert "for 4000 sequences of" in message
    assert "which 1 GPU with 80.0 GiB each (node " in message
    fits = int(message.partition("maxConcurrentSequences to ")[2].split()[0])
    assert 1 <= fits < 4000
    space.patch(LLAMA, NAME, {"spec": {"engine": {"maxConcurrentSequences": fits}}})
    serves(space)


def test_what_runs_outlives_an_edit_that_cannot(space: Namespace) -> None:
    """The pods go on, the condition says what is wrong with the edit; taken back, nothing was restarted."""
    space.apply(small_llama(NAME))
    serves(space)
    before = [pod["metadata"]["uid"] for pod in space.list("pods", PODS)]
    space.patch(LLAMA, NAME, {"spec": {"resources": {"gpu": {"count": 64}}}})
    space.condition(NAME, "PreflightPassed", "False TooManyGpus")
    space.condition(NAME, "Available", "True Serving")
    space.patch(LLAMA, NAME, {"spec": {"resources": {"gpu": {"count": 1}}}})
    space.condition(NAME, "PreflightPassed", "True ChecksPassed")
    space.condition(NAME, "Progressing", "False Settled")
    assert [pod["metadata"]["uid"] for pod in space.list("pods", PODS)] == before


def test_a_node_that_appears_later_lets_the_pods_be_made(space: Namespace) -> None:
    """The product is named beside those that there are; when a node has it, a pod is made for it."""
    gpu = {"count": 4, "product": "H100"}
    space.apply(small_llama(NAME, resources={"gpu": gpu, "cpu": "100m", "memory": "256Mi"}))
    message = held(space, "NoNodeWithProduct")
    assert "no node has GPUs of product H100, the cluster has" in message
    with another_node({LABEL_GPU_PRODUCT: "NVIDIA-H100-80GB-HBM3"}, 8) as node:
        passed = space.condition(NAME, "PreflightPassed", "True ChecksPassed", seconds=60)
        assert f"4 GPUs with 79.0 GiB each (node {node})" in passed["message"]
        space.there("deployment", NAME)
        space.run("delete", LLAMA, NAME)
        # What was bound to a node without a kubelet is stopped by nobody.
        space.run("delete", "pods", "--selector", PODS, "--force", "--grace-period=0", "--ignore-not-found")


def test_a_quota_that_is_too_small_is_told_before_it_refuses(space: Namespace) -> None:
    """Raised, it is enough."""
    quota: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
    space.apply({**quota, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}})
    space.apply(small_llama(NAME))
    assert held(space, "QuotaTooSmall") == (
        "ResourceQuota team allows 0 of requests.nvidia.com/gpu in all, and one replica wants 1: raise the quota, or "
        "lower spec.resources.gpu.count"
    )
    space.apply({**quota, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}})
    serves(space)


def test_a_storage_class_that_does_not_exist_is_named_and_once_it_does_it_is_used(space: Namespace) -> None:
    """Beside those that there are."""
    (default,) = [
        row
        for row in json.loads(kubectl_ok("get", "storageclass", "-o", "json"))["items"]
        if row["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    name = f"fast-{uuid4().hex[:8]}"
    space.apply(small_llama(NAME, cache={"size": "64Mi", "storageClassName": name}))
    message = held(space, "StorageClassNotFound")
    assert f"there is no storage class {name} (there are: " in message
    assert default["metadata"]["name"] in message
    kept = {key: default[key] for key in default if key != "metadata"}
    kubectl_ok("create", "-f", "-", stdin={**kept, "metadata": {"name": name}})
    try:
        serves(space)
    finally:
        kubectl_ok("delete", "storageclass", name)
