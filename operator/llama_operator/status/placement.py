"""Why pods are not created or find no node: quota, admission, and the scheduler's words set against the nodes' GPUs."""

from collections.abc import Iterator

from llama_operator.plan.gpu import label_values
from llama_operator.plan.observed import NodeOffer, Object, Observed
from llama_operator.plan.quantity import amount
from llama_operator.spec.model import ANY_PRODUCT, LlamaDeploymentSpec
from llama_operator.status.pods import condition_of, is_unscheduled
from llama_operator.status.problems import Problem, short
from llama_operator.status.reason import Reason


def of_deployment(deployment: Object | None) -> Iterator[Problem]:
    """Yield why the Deployment cannot create pods."""
    failure = condition_of(deployment, "ReplicaFailure") if deployment else None
    if failure is None or failure["status"] != "True":
        return
    yield _not_created(short(failure.get("message", "")))


def of_job(seen: Observed, name: str | None) -> Iterator[Problem]:
    """Yield why the Job that fills the cache `name` cannot create its pod, which events alone tell."""
    for event in seen.events:
        about = event.get("involvedObject") or {}
        if (about.get("kind"), about.get("name"), event.get("reason")) == ("Job", name, "FailedCreate"):
            yield _not_created(short(event.get("message") or ""))
            return


def _not_created(words: str) -> Problem:
    if "exceeded quota" in words:
        return Problem(
            Reason.QUOTA_EXCEEDED,
            f"a quota of the namespace leaves no room for the pods ({words}): raise the quota, or lower spec.resources",
        )
    return Problem(
        Reason.POD_REFUSED,
        f"the API server refuses the pods: {words}; correct spec.podTemplate, or the policy of the namespace",
    )


def of_pod(spec: LlamaDeploymentSpec, seen: Observed, pod: Object) -> Iterator[Problem]:
    """Yield why a pod has no node, if the scheduler has said so."""
    scheduled = condition_of(pod, "PodScheduled")
    if not is_unscheduled(pod) or scheduled is None or scheduled.get("reason") != "Unschedulable":
        return
    words = short(scheduled.get("message", ""))
    yield _gpus(spec, seen, words) or _others(spec, words)


def _gpus(spec: LlamaDeploymentSpec, seen: Observed, words: str) -> Problem | None:
    gpu = spec.resources.gpu
    if not gpu.count:
        return None
    name, count = gpu.resource_name, gpu.count
    holding = [node for node in seen.nodes if _gpus_of(node, name)]
    suitable = [node for node in holding if _has_product(node, gpu.product)]
    largest = max((_gpus_of(node, name) for node in suitable), default=0)
    if seen.nodes and not holding:
        return Problem(
            Reason.NO_GPU_NODE,
            f"no node offers {name}: add a GPU node or install its device plugin, or set spec.resources.gpu.count to "
            "0 to run on CPUs",
        )
    if seen.nodes and not suitable:
        products = ", ".join(sorted({node.product for node in holding if node.product}))
        return Problem(
            Reason.NO_NODE_WITH_PRODUCT,
            f"no node has GPUs of product {gpu.product}, the cluster has {products}: set spec.resources.gpu.product "
            "to one of these, or to any",
        )
    if seen.nodes and largest < count:
        return Problem(
            Reason.TOO_MANY_GPUS,
            f"wants {count} {name} on one node, the largest node has {largest}: lower spec.resources.gpu.count or add "
            "a node",
        )
    if f"Insufficient {name}" in words:
        return _in_use(spec, seen)
    return None


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


def _others(spec: LlamaDeploymentSpec, words: str) -> Problem:
    if "ersistentvolumeclaim" in words.lower():
        storage_class = spec.cache.storage_class_name
        where = f"storage class {storage_class}" if storage_class else "the cluster's default storage class"
        return Problem(
            Reason.CACHE_NOT_BOUND,
            f"the cache volume is not provided by {where} ({words}): set spec.cache.storageClassName to a class of "
            "kubectl get storageclass",
        )
    if "Insufficient cpu" in words or "Insufficient memory" in words:
        return Problem(
            Reason.INSUFFICIENT_RESOURCES,
            f"no node has cpu {spec.resources.cpu} and memory {spec.resources.memory} free ({words}): lower "
            "spec.resources, or add a node",
        )
    return Problem(
        Reason.UNSCHEDULABLE, f"the scheduler finds no node ({words}): see spec.scheduling, or add such a node"
    )


def _gpus_of(node: NodeOffer, resource: str) -> int:
    return int(amount(node.allocatable.get(resource, "0")))


def _has_product(node: NodeOffer, product: str) -> bool:
    return product == ANY_PRODUCT or node.product is None or node.product in label_values(product)
