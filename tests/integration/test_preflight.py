"""Preflight on the real API server, with exactly the rights that the chart gives: what it reads, holds and lets go."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.hub import REPO, checked, write_model
from tests.integration.operator_process import OperatorProcess
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.hub import HubServer
from tests.support.kubectl import kubectl_ok
from tests.support.nodes import another_node

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def revision_of(space: Namespace) -> str:
    """What the pods of the Deployment would load."""
    (container,) = space.there("deployment", "llama")["spec"]["template"]["spec"]["containers"]
    return next(row["value"] for row in container["env"] if row["name"] == "LLAMA_INFERENCE_REVISION")


def held(space: Namespace, reason: str) -> str:
    """Wait until preflight holds for a reason, with nothing claimed; its message."""
    message = space.condition("llama", "PreflightPassed", f"False {reason}")["message"]
    assert space.get("deployment", "llama") is None
    assert space.get("persistentvolumeclaim", "llama-cache") is None
    return message


def passes(space: Namespace) -> None:
    """Wait until everything is claimed."""
    space.condition("llama", "PreflightPassed", "True ChecksPassed")
    space.there("deployment", "llama")
    space.there("persistentvolumeclaim", "llama-cache")


def test_what_passes_is_claimed_at_the_commit_that_was_checked(space: Namespace, hub: HubServer) -> None:
    """Status and pods have the commit; the volume the size of the files; a branch that moves changes nothing."""
    commit = hub.repos[REPO].refs["main"]
    space.apply(checked(cache={}))
    passes(space)
    assert revision_of(space) == commit
    status = space.there(LLAMA, "llama")["status"]
    assert status["revision"] == {"repo": REPO, "requested": "main", "commit": commit, "licence": "apache-2.0"}
    states = {row["name"]: row["state"] for row in status["preflight"]["checks"]}
    assert set(states.values()) == {"passed"}, states
    claim = space.there("persistentvolumeclaim", "llama-cache")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    generation = space.there("deployment", "llama")["metadata"]["generation"]
    hub.repos[REPO].refs["main"] = "f" * 40
    try:
        space.patch(LLAMA, "llama", {"metadata": {"labels": {"look": "again"}}, "spec": {"service": {"port": 81}}})
        space.condition("llama", "Accepted", "True SpecValid")
        assert space.there("deployment", "llama")["metadata"]["generation"] == generation
        assert revision_of(space) == commit
    finally:
        hub.repos[REPO].refs["main"] = commit


@pytest.mark.parametrize("lowered", ["maxConcurrentSequences", "maxContextTokens"])
def test_a_model_that_does_not_fit_is_told_with_numbers_and_ways_out(space: Namespace, lowered: str) -> None:
    """Following the message is enough."""
    space.apply(checked(engine={"maxConcurrentSequences": 4000}))
    message = held(space, "ModelDoesNotFit")
    assert "needs 529.0 GiB (weights 1.9 GiB, KV cache 500.0 GiB for 4000 sequences" in message, message
    proposed = int(message.partition(f"lower spec.engine.{lowered} to ")[2].split()[0])
    space.patch(LLAMA, "llama", {"spec": {"engine": {lowered: proposed}}})
    passes(space)


def test_where_it_is_only_warned_everything_is_claimed(space: Namespace) -> None:
    """With the same words in the condition."""
    space.apply(checked(engine={"maxConcurrentSequences": 4000}, preflight={"mode": "warn"}))
    row = space.condition("llama", "PreflightPassed", "False ModelDoesNotFit")
    assert "for 4000 sequences" in row["message"]
    space.there("deployment", "llama")
    space.there("persistentvolumeclaim", "llama-cache")


def test_a_model_that_the_engine_does_not_run_is_named(space: Namespace, hub: HubServer, tmp_path: Path) -> None:
    """By its type, before a byte of its weights is fetched."""
    hub.add_repo("org/translator", write_model(tmp_path, model_type="t5", architectures=["T5Model"]))
    space.apply(checked(model={"repo": "org/translator"}))
    assert "cannot run org/translator, which is t5 (T5Model)" in held(space, "UnsupportedArchitecture")
    space.patch(LLAMA, "llama", {"spec": {"model": {"repo": REPO}}})
    passes(space)


def test_a_cache_that_the_model_does_not_fit_in_is_told(space: Namespace, hub: HubServer, tmp_path: Path) -> None:
    """Before there is a volume, which could not shrink again."""
    hub.add_repo("org/wide", write_model(tmp_path, file_bytes=4 * 2**20))
    space.apply(checked(model={"repo": "org/wide"}, cache={"size": "1Mi"}))
    assert "set spec.cache.size to 1Gi or more" in held(space, "CacheTooSmall")
    space.patch(LLAMA, "llama", {"spec": {"cache": {"size": "1Gi"}}})
    passes(space)


def test_a_taint_that_is_not_tolerated_is_named(space: Namespace) -> None:
    """With the node that would do otherwise; taken off, it does."""
    mark, taint = {"llama-operator.dev/tainted": uuid4().hex[:8]}, "llama-operator.dev/team=other:NoSchedule"
    with another_node(mark, 8) as node:
        kubectl_ok("taint", "node", node, taint)
        eventually("it is not new any more", lambda: taints(node) == [taint])
        space.apply(checked(scheduling={"nodeSelector": mark}))
        assert f"node {node} would do but has the taint {taint}" in held(space, "NodesTainted")
        kubectl_ok("taint", "node", node, f"{taint}-")
        passes(space)


def test_a_node_that_was_cordoned_after_the_checks_is_named_as_they_would_name_it(space: Namespace) -> None:
    """The scheduler only says that one was unschedulable."""
    mark = {"llama-operator.dev/cordoned": uuid4().hex[:8]}
    with another_node(mark, 8) as node:
        kubectl_ok("cordon", node)
        unchecked = {"mode": "off"}  # as if the node had been open when the checks looked
        space.apply(checked(replicas=1, preflight=unchecked, scheduling={"nodeSelector": mark}))
        row = space.condition("llama", "PodsScheduled", "False NodesTainted")
        assert row["message"].endswith(f"kubectl uncordon {node} lets pods in"), row["message"]


def taints(node: str) -> list[str]:
    """The taints of a node, as kubectl takes them."""
    rows = json.loads(kubectl_ok("get", "node", node, "-o", "json"))["spec"].get("taints", ())
    return [f"{row['key']}={row.get('value', '')}:{row['effect']}" for row in rows]


def test_more_cpus_than_any_node_has_are_told(space: Namespace) -> None:
    """By what nodes have for pods, not by what is free."""
    space.apply(checked(resources={"cpu": "100000"}))
    message = held(space, "NodeTooSmall")
    assert "it wants 100000 cpu, it has " in message, message
    space.patch(LLAMA, "llama", {"spec": {"resources": {"cpu": "100m"}}})
    passes(space)


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        ({"requests.nvidia.com/gpu": "1"}, "ResourceQuota team allows 1 of requests.nvidia.com/gpu in all"),
        ({"requests.storage": "512Mi"}, "one replica wants 1.0 GiB"),
    ],
)
def test_a_quota_that_is_too_small_is_seen_before_it_refuses(
    space: Namespace, hard: dict[str, str], words: str
) -> None:
    """Raising it is enough."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}
    space.apply(quota)
    space.apply(checked())
    assert words in held(space, "QuotaTooSmall")
    space.patch("resourcequota", "team", {"spec": {"hard": dict.fromkeys(hard, "100Gi")}})
    passes(space)


def test_a_limit_range_is_read_as_the_api_server_fills_it_in(space: Namespace) -> None:
    """A maximum is a default limit too: below the request it would refuse every pod."""
    bounds = {"type": "Container", "max": {"memory": "1Gi"}}
    space.apply(
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "bounds"}, "spec": {"limits": [bounds]}}
    )
    space.apply(checked())
    assert "LimitRange bounds allows container inference at most 1.0 GiB of memory" in held(space, "LimitRangeExceeded")
    space.patch(LLAMA, "llama", {"spec": {"resources": {"memory": "512Mi"}}})
    passes(space)


def test_a_storage_class_that_does_not_exist_is_named(space: Namespace) -> None:
    """Once there is one of that name, everything goes on."""
    name = f"fast-{uuid4().hex[:8]}"
    space.apply(checked(cache={"size": "1Gi", "storageClassName": name}))
    assert f"there is no storage class {name}" in held(space, "StorageClassNotFound")
    made: dict[str, Any] = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    kubectl_ok("create", "-f", "-", stdin={**made, "provisioner": "example.com/none"})
    try:
        passes(space)
    finally:
        kubectl_ok("delete", "storageclass", name)


def test_a_pull_secret_that_does_not_exist_is_named(space: Namespace) -> None:
    """Before a node tries to pull with it."""
    space.apply(checked(podTemplate={"spec": {"imagePullSecrets": [{"name": "registry"}]}}))
    assert "the image pull Secret registry" in held(space, "PullSecretNotFound")
    space.run("create", "secret", "generic", "registry", "--from-literal=x=y")
    passes(space)


def test_a_priority_class_that_is_not_there_is_told_by_its_field(space: Namespace) -> None:
    """Before a pod is refused for it; corrected, all is claimed."""
    space.apply(checked(scheduling={"priorityClassName": "no-such-class"}))
    message = held(space, "PriorityClassNotFound")
    assert "there is no PriorityClass no-such-class: correct spec.scheduling.priorityClassName" in message, message
    space.patch(LLAMA, "llama", {"spec": {"scheduling": {"priorityClassName": None}}})
    passes(space)


def test_a_misspelt_default_of_generation_is_refused_before_anything_is_made(space: Namespace) -> None:
    """With the nearest name; corrected, all is claimed."""
    space.apply(checked(generation={"defaults": {"temprature": 0.5}}))
    row = space.condition("llama", "Accepted", "False InvalidSpec")
    assert row["message"].startswith("spec.generation.defaults.temprature: there is no parameter temprature; did you ")
    assert space.get("deployment", "llama") is None
    assert space.get("persistentvolumeclaim", "llama-cache") is None
    space.patch(LLAMA, "llama", {"spec": {"generation": {"defaults": {"temprature": None, "temperature": 0.5}}}})
    passes(space)


def test_an_adapter_is_told_with_the_model_that_it_is_for(space: Namespace, hub: HubServer, tmp_path: Path) -> None:
    """Before a GPU is claimed for it."""
    config = {"peft_type": "LORA", "base_model_name_or_path": REPO}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"w")
    hub.add_repo("org/adapter", tmp_path)
    space.apply(checked(model={"repo": "org/adapter"}))
    message = held(space, "NotAModel")
    assert f"an adapter (LORA) for {REPO}: name {REPO} in spec.model.repo" in message, message
    space.patch(LLAMA, "llama", {"spec": {"model": {"repo": REPO}}})
    passes(space)


def test_a_hub_that_is_away_holds_the_first_pod_and_nothing_that_is_there(
    space: Namespace, hub: HubServer, operator: OperatorProcess
) -> None:
    """It is asked until it answers."""
    hub.fault("error", status=503)
    try:
        space.apply(checked("other", model={"repo": "org/other"}))
        row = space.condition("other", "PreflightPassed", "False HubFailing")
        assert "it answers with status 503" in row["message"]
    finally:
        hub.clear_faults()
    space.condition("other", "PreflightPassed", "False RepositoryNotFound")
