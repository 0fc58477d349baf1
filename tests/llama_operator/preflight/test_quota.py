"""Could the namespace's quotas and limit ranges ever admit a replica?"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from llama_operator.preflight import limits, quota
from llama_operator.preflight.finding import GIB
from llama_operator.preflight.pod import Pod
from tests.support.survey_objects import a_container, a_limit_range, a_pod, a_quota

CLAIM = Decimal(100 * GIB)


def by_quota(hard: Mapping[str, str], pod: Pod | None = None, claim: Decimal | None = CLAIM, **spec: Any) -> list[str]:
    """The messages of what a quota refuses; all must have the same reason."""
    findings = list(quota.check(pod or a_pod(), [a_quota(hard, **spec)], claim=claim, storage_class="fast"))
    assert {(row.state, row.reason) for row in findings} <= {("failed", "QuotaTooSmall")}
    return [row.message for row in findings]


def by_range(kind: str = "Container", pod: Pod | None = None, **bounds: Mapping[str, str]) -> list[str]:
    """The messages of what a limit range refuses."""
    ranges = [a_limit_range(kind, **bounds)]
    findings = list(limits.check(limits.defaulted(pod or a_pod(), ranges), ranges, claim=CLAIM))
    assert {(row.state, row.reason) for row in findings} <= {("failed", "LimitRangeExceeded")}
    return [row.message for row in findings]


@pytest.mark.parametrize(
    "hard",
    [
        {"requests.nvidia.com/gpu": "2", "requests.cpu": "500m", "requests.memory": "2Gi", "pods": "1"},
        {"cpu": "1", "memory": "2048Mi", "count/pods": "1", "count/deployments.apps": "1"},
        {"requests.storage": "100Gi", "persistentvolumeclaims": "1"},
        {"slow.storageclass.storage.k8s.io/requests.storage": "1Gi"},
        {"configmaps": "0", "count/jobs.batch": "0", "requests.example.com/fpga": "0"},
    ],
)
def test_a_quota_that_holds_one_replica_is_large_enough(hard: Mapping[str, str]) -> None:
    """Exactly as much is enough, and what a replica does not use may be nothing."""
    assert by_quota(hard) == []


def test_a_quota_of_fewer_gpus_is_named_with_both_numbers() -> None:
    """And with the two ways out."""
    (message,) = by_quota({"requests.nvidia.com/gpu": "1"})
    assert message == (
        "ResourceQuota team allows 1 of requests.nvidia.com/gpu in all, and one replica wants 2: raise the quota, or "
        "lower spec.resources.gpu.count"
    )


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        ({"cpu": "100m"}, "allows 0.1 of cpu in all, and one replica wants 0.5: raise the quota, or lower spec.res"),
        ({"requests.memory": "1Gi"}, "allows 1.0 GiB of requests.memory in all, and one replica wants 2.0 GiB"),
        ({"requests.storage": "64Gi"}, "wants 100.0 GiB: raise the quota, or lower spec.cache.size"),
        ({"fast.storageclass.storage.k8s.io/requests.storage": "1Gi"}, "or lower spec.cache.size"),
        ({"fast.storageclass.storage.k8s.io/persistentvolumeclaims": "0"}, "one replica wants 1: raise the quota"),
        ({"persistentvolumeclaims": "0"}, "one replica wants 1: raise the quota"),
        ({"pods": "0"}, "allows 0 of pods in all, and one replica wants 1: raise the quota"),
    ],
)
def test_each_kind_of_amount_is_compared(hard: Mapping[str, str], words: str) -> None:
    """Compute, storage, storage of a class, objects."""
    (message,) = by_quota(hard)
    assert words in message


def test_a_volume_that_is_there_already_claims_nothing() -> None:
    """It is in the quota's used part."""
    assert by_quota({"requests.storage": "1Gi", "persistentvolumeclaims": "0"}, claim=None) == []


def test_limits_count_where_a_quota_has_them() -> None:
    """By the sum over the containers."""
    pod = a_pod(limits={"memory": "8Gi"})
    (message,) = by_quota({"limits.memory": "4Gi"}, pod)
    assert "one replica wants 8.0 GiB: raise the quota, or lower spec.resources.memoryLimit" in message


def test_a_limit_that_a_quota_demands_must_be_set() -> None:
    """Kubernetes refuses a pod that leaves it out, in words that name no field."""
    (message,) = by_quota({"limits.memory": "64Gi"})
    assert "counts limits.memory, so that every container must set it, and inference does not" in message
    assert "set spec.resources.memoryLimit" in message
    (message,) = by_quota({"requests.cpu": "8"}, a_pod(containers=[a_container(cpu="1"), a_container("proxy")]))
    assert "proxy does not: set it in spec.podTemplate" in message


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        ({"scopes": ["NotTerminating", "NotBestEffort"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["BestEffort"]}, False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                }
            },
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["low"]}]
                }
            },
            False,
        ),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, False),
    ],
)
def test_a_quota_for_other_pods_does_not_count(scope: dict[str, Any], counts: bool) -> None:
    """Scopes say which pods a quota is about."""
    assert bool(by_quota({"pods": "0"}, a_pod(priorityClassName="high"), **scope)) is counts


def test_a_limit_range_bounds_a_container() -> None:
    """From above and from below, with both numbers."""
    (message,) = by_range(max={"nvidia.com/gpu": "1"})
    assert message == (
        "LimitRange bounds allows container inference at most 1 of nvidia.com/gpu, and it would have 2: lower "
        "spec.resources.gpu.count, or change the LimitRange"
    )
    (message,) = by_range(min={"cpu": "1"})
    assert "asks of container inference at least 1 of cpu, and it would have 0.5: raise spec.resources.cpu" in message


def test_a_limit_range_bounds_the_pod_as_a_whole() -> None:
    """By the sum."""
    pod = a_pod(containers=[a_container(cpu="3"), a_container("proxy", cpu="2")])
    (message,) = by_range("Pod", pod, max={"cpu": "4"})
    assert "allows a pod at most 4 of cpu, and it would have 5" in message
    assert by_range("Container", pod, max={"cpu": "4"}) == []


def test_a_limit_range_bounds_the_cache() -> None:
    """A claim that is too small or too large is refused as a pod is."""
    (message,) = by_range("PersistentVolumeClaim", max={"storage": "10Gi"})
    assert "allows the cache at most 10.0 GiB of storage, and it would have 100.0 GiB: lower spec.cache.size" in message


def test_a_default_limit_below_the_request_is_seen() -> None:
    """The server says nothing of a limit; the LimitRange does, and Kubernetes refuses the pair."""
    (message,) = by_range(default={"memory": "1Gi"})
    assert "requests 2.0 GiB of memory, and its limit, which a LimitRange sets" in message
    assert "set spec.resources.memoryLimit, or lower spec.resources.memory" in message
    assert by_range(default={"memory": "4Gi"}) == []


def test_a_default_is_what_a_quota_counts() -> None:
    """Filled in before the quota looks."""
    ranges = [a_limit_range(default={"memory": "4Gi"})]
    pod = limits.defaulted(a_pod(), ranges)
    assert by_quota({"limits.memory": "4Gi"}, pod) == []
    assert by_quota({"limits.memory": "3Gi"}, pod) != []
