"""Why pods are not created or find no node: quota, admission, and the scheduler's words set against the nodes."""

import re
from collections.abc import Iterator
from typing import Final

from llama_operator.plan.observed import Object, Observed
from llama_operator.preflight import classes, nodes
from llama_operator.preflight.finding import amount_of
from llama_operator.preflight.limits import field_of
from llama_operator.preflight.pod import Amounts, amounts, read
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.status.pods import condition_of, is_unscheduled
from llama_operator.status.problems import Problem, short
from llama_operator.status.reason import Reason


def of_deployment(spec: LlamaDeploymentSpec, deployment: Object | None) -> Iterator[Problem]:
    """Yield why the Deployment cannot create pods."""
    failure = condition_of(deployment, "ReplicaFailure") if deployment else None
    if failure is None or failure["status"] != "True":
        return
    yield _not_created(spec, short(failure.get("message", "")))


def of_job(spec: LlamaDeploymentSpec, seen: Observed, name: str | None) -> Iterator[Problem]:
    """Yield why the Job that fills the cache `name` cannot create its pod, which events alone tell."""
    for event in seen.events:
        about = event.get("involvedObject") or {}
        if (about.get("kind"), about.get("name"), event.get("reason")) == ("Job", name, "FailedCreate"):
            yield _not_created(spec, short(event.get("message") or ""))
            return


_QUOTA: Final = re.compile(r"exceeded quota: (\S+), requested: (\S+), used: (\S+), limited: (\S+)")
_CLASS: Final = re.compile(r"no PriorityClass with name (\S+) was found")
_RUNTIME: Final = re.compile(r'RuntimeClass "?([a-z0-9.-]+)"? not found')


def _not_created(spec: LlamaDeploymentSpec, words: str) -> Problem:
    if "exceeded quota" in words:
        return Problem(Reason.QUOTA_EXCEEDED, _quota(words))
    if found := _CLASS.search(words):
        return Problem(Reason.PRIORITY_CLASS_NOT_FOUND, classes.no_priority(spec.scheduling, found[1]), "PodsScheduled")
    if found := _RUNTIME.search(words):
        return Problem(Reason.RUNTIME_CLASS_NOT_FOUND, classes.no_runtime(spec.scheduling, found[1]), "PodsScheduled")
    fix = "correct spec.podTemplate, or the policy of the namespace"
    return Problem(Reason.POD_REFUSED, f"the API server refuses the pods: {words}; {fix}")


def _quota(words: str) -> str:
    """Return which quota leaves how much room for a pod, and the field that a pod's share is from."""
    found = _QUOTA.search(words)
    wants, used, hard = ({}, {}, {}) if found is None else (_amounts(found[at]) for at in (2, 3, 4))
    for resource, value in wants.items():
        taken, most = used.get(resource), hard.get(resource)
        if found is None or taken is None or most is None or taken + value <= most:
            continue
        name = resource.removeprefix("requests.").removeprefix("limits.")
        return (
            f"ResourceQuota {found[1]} allows {amount_of(name, most)} of {resource} in all, {amount_of(name, taken)} "
            f"of it are used, and a pod wants {amount_of(name, value)}: raise the quota, free some of it, or lower "
            f"{'spec.resources.memoryLimit' if resource == 'limits.memory' else field_of(name)}"
        )
    return f"a quota of the namespace leaves no room for the pods ({words}): raise the quota, or lower spec.resources"


def _amounts(rows: str) -> Amounts:
    return amounts(dict(row.split("=", 1) for row in rows.split(",") if "=" in row))


def of_pod(spec: LlamaDeploymentSpec, seen: Observed, pod: Object) -> Iterator[Problem]:
    """Yield why a pod has no node, if the scheduler has said so.

    What preflight can say of the nodes is said in its words: a node may have been closed, tainted or relabelled since.
    """
    scheduled = condition_of(pod, "PodScheduled")
    if not is_unscheduled(pod) or scheduled is None or scheduled.get("reason") != "Unschedulable":
        return
    words = short(scheduled.get("message", ""))
    gpu = spec.resources.gpu
    if problem := _volume(spec, words) or _of_nodes(spec, seen, pod):
        yield problem
    elif gpu.count and f"Insufficient {gpu.resource_name}" in words:
        yield _in_use(spec, seen)
    else:
        yield _others(spec, words)


def _of_nodes(spec: LlamaDeploymentSpec, seen: Observed, pod: Object) -> Problem | None:
    """Return why no node could take the pod if nothing else ran there; None if one could, or none is known."""
    if not seen.nodes:
        return None
    found = nodes.check(read(pod["spec"]), spec.resources.gpu, seen.nodes)
    return Problem(Reason(found.reason), found.message, "PodsScheduled") if found.state == "failed" else None


def _in_use(spec: LlamaDeploymentSpec, seen: Observed) -> Problem:
    gpu = spec.resources.gpu
    # Pods of this deployment that do have a node may be what holds the GPUs.
    rolling = any(not is_unscheduled(pod) for pod in seen.pods) and spec.rollout.strategy == "RollingUpdate"
    way_out = "stop a pod that holds some, or add a node"
    if rolling:
        way_out += "; to roll without GPUs to spare set spec.rollout maxSurge to 0 and maxUnavailable to 1"
    return Problem(
        Reason.GPUS_IN_USE,
        f"wants {gpu.count} {gpu.resource_name} on one node, and so many are not free right now: {way_out}",
    )


def _volume(spec: LlamaDeploymentSpec, words: str) -> Problem | None:
    if "ersistentvolumeclaim" not in words.lower():
        return None
    storage_class = spec.cache.storage_class_name
    where = f"storage class {storage_class}" if storage_class else "the cluster's default storage class"
    return Problem(
        Reason.CACHE_NOT_BOUND,
        f"the cache volume is not provided by {where} ({words}): set spec.cache.storageClassName to a class of "
        "kubectl get storageclass",
    )


def _others(spec: LlamaDeploymentSpec, words: str) -> Problem:
    if "Insufficient cpu" in words or "Insufficient memory" in words:
        return Problem(
            Reason.INSUFFICIENT_RESOURCES,
            f"no node has cpu {spec.resources.cpu} and memory {spec.resources.memory} free ({words}): lower "
            "spec.resources, or add a node",
        )
    fix = next((fix for said, fix in _FIXES if said in words), "see spec.scheduling, or add such a node")
    return Problem(Reason.UNSCHEDULABLE, f"the scheduler finds no node ({words}): {fix}")


_FIXES: Final = (
    ("topology spread", "loosen spec.scheduling.topologySpread, or add a node where it leaves room"),
    ("affinity rules", "loosen spec.scheduling.affinity, or add a node that it matches"),
    ("volume node affinity", "the cache's volume is bound to another node or zone: let pods in there"),
    ("free ports", "take hostPort out of spec.podTemplate, or add a node"),
)
"""Words of the scheduler about what runs on nodes already, which preflight does not look at → what to do."""
