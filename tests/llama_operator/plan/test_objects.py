"""The objects around the pods."""

from typing import Any

import pytest

from llama_operator.plan.quantity import amount
from llama_operator.plan.sizing import cache_size
from tests.support.operator_objects import UID, a_body, applied, desired, observed

KIND = "PersistentVolumeClaim"


def claim(live: dict[str, Any] | None = None, **cache: Any) -> Any:
    """The desired cache."""
    return desired(KIND, observed(body=a_body(cache=cache), children=[live] if live else []))


def a_live_claim(size: str = "100Gi", **spec: Any) -> dict[str, Any]:
    """The cache as the cluster has it."""
    (found,) = [obj for obj in applied() if obj["kind"] == KIND]
    return {**found, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}}


def size_of(obj: Any) -> str:
    """The size that a claim asks for."""
    return obj["spec"]["resources"]["requests"]["storage"]


@pytest.mark.parametrize(
    ("repo", "size", "shared"),
    [
        ("meta-llama/Llama-2-70b-chat-hf", "294Gi", "163Gi"),
        ("meta-llama/Llama-2-7b-hf", "30Gi", "17Gi"),
        ("meta-llama/Llama-3.2-1B", "5Gi", "3Gi"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "2Gi", "2Gi"),
        ("mistralai/Mixtral-8x7B-v0.1", "235Gi", "131Gi"),
        ("unsloth/Qwen2.5-0.5B", "3Gi", "2Gi"),
        ("my-70b-lab/tiny-random", "50Gi", "50Gi"),
        ("plain-name", "50Gi", "50Gi"),
    ],
)
def test_the_cache_is_sized_by_the_models_name(repo: str, size: str, shared: str) -> None:
    """Two bytes for each parameter, twice unless it is shared, and a quarter more; the organisation says nothing."""
    assert (cache_size(repo, shared=False), cache_size(repo, shared=True)) == (size, shared)


def test_a_cache_has_room_for_the_next_revision_beside_the_one_that_serves() -> None:
    """By the files, where they are known; a shared volume is of one commit alone."""
    both = 2 * 80 * 2**30
    assert amount(cache_size("plain-name", 80 * 2**30, shared=False)) > both
    assert both > amount(cache_size("plain-name", 80 * 2**30, shared=True)) > both / 2


def test_an_explicit_size_wins() -> None:
    """Estimates are for those who say nothing."""
    assert size_of(claim(size="1Ti", storageClassName="fast")) == "1Ti"
    assert claim(storageClassName="fast")["spec"]["storageClassName"] == "fast"
    assert "storageClassName" not in claim()["spec"]


@pytest.mark.parametrize(("asked", "size"), [(None, "100Gi"), ("50Gi", "100Gi"), ("1Ti", "1Ti")])
def test_a_live_volume_only_grows_and_only_when_told_to(asked: str | None, size: str) -> None:
    """A new model's estimate must not grow a volume whose class may not allow it."""
    cache = {"size": asked} if asked else {}
    assert size_of(claim(a_live_claim("100Gi"), **cache)) == size


def test_a_volume_keeps_its_class_and_mode() -> None:
    """One that is taken up again was made for another spec; the API server would refuse to change it."""
    live = a_live_claim(storageClassName="slow", accessModes=["ReadWriteMany"])
    spec = claim(live, storageClassName="fast")["spec"]
    assert (spec["storageClassName"], spec["accessModes"]) == ("slow", ["ReadWriteMany"])


def test_a_retained_cache_has_no_owner() -> None:
    """The garbage collector deletes what has one."""
    assert "ownerReferences" not in claim(retain=True)["metadata"]
    assert claim()["metadata"]["ownerReferences"][0]["uid"] == UID


def test_all_else_is_owned() -> None:
    """Deleting the LlamaDeployment deletes its objects without the operator."""
    for obj in applied():
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("LlamaDeployment", UID, True)


def test_the_service_leads_to_the_pods() -> None:
    """Port, type and annotations are the spec's; the selector is the Deployment's."""
    seen = observed(body=a_body(service={"port": 8000, "type": "NodePort", "annotations": {"a": "b"}}))
    service = desired("Service", seen)
    assert service["spec"]["type"] == "NodePort"
    assert service["spec"]["ports"][0]["port"] == 8000
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    assert service["metadata"]["annotations"]["a"] == "b"
    assert service["spec"]["selector"] == desired("Deployment")["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("rollout", "strategy"),
    [
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"maxSurge": "25%"}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}),
        ({"strategy": "Recreate"}, {"type": "Recreate"}),
    ],
)
def test_a_rollout_is_as_the_spec_says(rollout: dict[str, Any], strategy: dict[str, Any]) -> None:
    """Counts are numbers again, shares stay text."""
    assert desired("Deployment", observed(body=a_body(rollout=rollout)))["spec"]["strategy"] == strategy


def test_the_service_account_has_no_token() -> None:
    """The server never talks to the Kubernetes API."""
    assert desired("ServiceAccount")["automountServiceAccountToken"] is False
