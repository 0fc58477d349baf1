"""The objects around the pods: ServiceAccount, cache, predict Service, Deployment."""

from collections.abc import Mapping
from typing import Any

from llama_operator import names
from llama_operator.plan.observed import Key, Object
from llama_operator.plan.quantity import amount
from llama_operator.plan.sizing import cache_size
from llama_operator.spec.model import LlamaDeploymentSpec


def metadata(
    key: Key, name: str, *, owner: Object | None, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the metadata of a child; without an `owner` it outlives its LlamaDeployment."""
    meta: dict[str, Any] = {"name": name, "namespace": key.namespace, "labels": names.child_labels(key.name)}
    if annotations:
        meta["annotations"] = dict(annotations)
    if owner is not None:
        # Without blockOwnerDeletion, which would need the right to change the finalizers of LlamaDeployments.
        reference = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": key.name}
        meta["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"], "controller": True}]
    return meta


def service_account(key: Key, owner: Object) -> dict[str, Any]:
    """Return the ServiceAccount of the pods: an identity without a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(key, key.name, owner=owner),
        "automountServiceAccountToken": False,
    }


def service(spec: LlamaDeploymentSpec, key: Key, owner: Object, selector: Mapping[str, str]) -> dict[str, Any]:
    """Return the predict Service; a pod is in it from readiness to its first moment of termination."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(key, key.name, owner=owner, annotations=spec.service.annotations),
        "spec": {
            "type": spec.service.type,
            "selector": dict(selector),
            "ports": [
                {
                    "name": names.PORT_NAME,
                    "port": spec.service.port,
                    "targetPort": names.PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "http",
                }
            ],
        },
    }


def answering(spec: LlamaDeploymentSpec, key: Key) -> dict[str, str]:
    """Return the labels of the pods that answer: over several nodes, the leaders."""
    leader = {names.LABEL_WORKER_INDEX: "0"} if spec.resources.gpu.nodes > 1 else {}
    return {**names.pod_selector(key.name), **leader}


def cache(
    spec: LlamaDeploymentSpec, key: Key, owner: Object, live: Object | None, *, model_bytes: int | None = None
) -> dict[str, Any]:
    """Return the PVC of the model cache; `model_bytes` is the size of the model's files, if it is known.

    Of a `live` claim the class and the mode stay, and the size unless the spec names a larger one: the API server
    accepts no other change, and a volume taken up again from an earlier LlamaDeployment is better than none.
    """
    wanted = spec.cache
    claim: dict[str, Any] = {"accessModes": [wanted.access_mode]}
    size, storage_class = wanted.size, wanted.storage_class_name
    size = size or cache_size(spec.model.repo, model_bytes, shared=False)
    if live is not None:
        has = live["spec"]
        claim["accessModes"] = has["accessModes"]
        storage_class = storage_class and has.get("storageClassName")
        held = has["resources"]["requests"]["storage"]
        size = held if wanted.size is None or amount(wanted.size) < amount(held) else wanted.size
    if storage_class:
        claim["storageClassName"] = storage_class
    claim["resources"] = {"requests": {"storage": size}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(key, names.cache_claim(key.name), owner=None if wanted.retain else owner),
        "spec": claim,
    }


def deployment(
    spec: LlamaDeploymentSpec,
    key: Key,
    owner: Object,
    *,
    template: Object,
    annotations: Mapping[str, str],
    strategy: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the Deployment that keeps `spec.replicas` pods of `template`, and replaces them by `strategy`."""
    paused = {"paused": True} if spec.rollout.paused else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(key, key.name, owner=owner, annotations=annotations),
        "spec": {
            "replicas": spec.replicas,
            "selector": {"matchLabels": names.pod_selector(key.name)},
            "progressDeadlineSeconds": spec.rollout.progress_deadline_seconds,
            "strategy": strategy,
            "template": template,
            **paused,
        },
    }
