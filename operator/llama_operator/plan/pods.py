"""The pod template: the inference server, its environment, its volumes, and the limits it runs under.

Every value here is in the hash that decides whether pods are replaced: change one only for a reason that is worth
restarting every GPU pod on every cluster.
"""

import json
from typing import Any, Final

from llama_operator import names
from llama_operator.names import Env
from llama_operator.plan import engines, gpu, keys, package, package_pods, source
from llama_operator.plan.merge import merge
from llama_operator.plan.settings import PlanSettings
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.rollout import golden_json

_DRAIN_MARGIN_SECONDS: Final = 10
_TMP, _SHM = "tmp", "shm"


def template(spec: LlamaDeploymentSpec, name: str, image: str, revision: str, settings: PlanSettings) -> dict[str, Any]:
    """Return the pod template of the LlamaDeployment `name`, `spec.podTemplate` merged onto it.

    `revision` is what the pods load: a commit, once the spec's branch or tag is resolved.

    Raises:
        SpecError: if `spec.podTemplate` cannot be merged.
    """
    base = {
        "metadata": {
            "labels": names.child_labels(name),
            "annotations": {"kubectl.kubernetes.io/default-container": names.CONTAINER},
        },
        "spec": _pod(spec, name, image, revision, settings),
    }
    merged = merge(base, spec.pod_template, path="spec.podTemplate")
    # Whatever a template says, the pods stay the ones that the Deployment and the Service select.
    metadata: dict[str, Any] = merged.get("metadata", {})
    labels = {**metadata.get("labels", {}), **names.child_labels(name)}
    return {**merged, "metadata": {**metadata, "labels": labels}}


def _pod(spec: LlamaDeploymentSpec, name: str, image: str, revision: str, settings: PlanSettings) -> dict[str, Any]:
    scheduling = spec.scheduling
    pod: dict[str, Any] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        # A Service named llama-inference would otherwise set LLAMA_INFERENCE_PORT, which is the server's setting.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.RUN_AS,
            "runAsGroup": names.RUN_AS,
            "fsGroup": names.RUN_AS,
            # Changing the owner of 140 GB of files on each start would take minutes.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": _beside(spec, image, settings),
        "containers": [_container(spec, name, image, revision, settings)],
        "volumes": _volumes(spec, name, revision),
        "nodeSelector": scheduling.node_selector,
        "tolerations": [*gpu.tolerations(spec.resources.gpu), *scheduling.tolerations],
        "affinity": gpu.affinity(spec.resources.gpu, scheduling.affinity),
        "topologySpreadConstraints": [
            {"labelSelector": {"matchLabels": names.pod_selector(name)}, **row} for row in scheduling.topology_spread
        ],
        "priorityClassName": scheduling.priority_class_name,
        "runtimeClassName": scheduling.runtime_class_name,
    }
    return {key: value for key, value in pod.items() if value not in (None, {}, [])}


def _beside(spec: LlamaDeploymentSpec, image: str, settings: PlanSettings) -> list[dict[str, Any]]:
    """Return the program that computes beside the server, where the engine is one, as a sidecar.

    It runs from before the server until after it: what the server still works on has its engine to the end.
    """
    if (served := package.of(spec)) is not None:
        return package_pods.containers(spec, served, image, engines.requests(spec), settings)
    beside = engines.of(spec).beside
    if beside is None:
        return []
    mounts = [
        *({**row, "readOnly": True} for row in source.mounts(spec) if row["name"] != source.TOKEN),
        {"name": engines.HANDOVER, "mountPath": engines.HANDOVER_DIR, "readOnly": True},
        {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108  (the pod's own)
        {"name": _SHM, "mountPath": "/dev/shm"},  # noqa: S108
    ]
    # Without a start-up probe the server comes as soon as this one runs, and fetches the model that it waits for.
    sidecar = {"restartPolicy": "Always", "imagePullPolicy": settings.image_pull_policy, "volumeMounts": mounts}
    return [{**_confined(), **beside(spec), **sidecar}]


def _confined() -> dict[str, Any]:
    return {
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _container(
    spec: LlamaDeploymentSpec, name: str, image: str, revision: str, settings: PlanSettings
) -> dict[str, Any]:
    served = package.of(spec)
    handover = engines.of(spec).beside is not None
    elsewhere = handover or served is not None
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["llama-inference", "serve"],
        "env": [{"name": key, "value": value} for key, value in environment(spec, name, revision, settings).items()],
        "ports": [{"name": names.PORT_NAME, "containerPort": names.CONTAINER_PORT, "protocol": "TCP"}],
        "resources": {"requests": dict(engines.FRONT)} if elsewhere else engines.requests(spec),
        # /healthz answers from the first second on, so the start-up probe only covers importing the libraries.
        "startupProbe": _probe("/healthz", periodSeconds=2, timeoutSeconds=5, failureThreshold=150),
        "livenessProbe": _probe("/healthz", periodSeconds=10, timeoutSeconds=10, failureThreshold=6),
        "readinessProbe": _probe("/readyz", periodSeconds=2, timeoutSeconds=5, failureThreshold=3),
        **_confined(),
        "volumeMounts": [
            *(source.mounts(spec) if served is None else package_pods.server_mounts()),
            {"name": _TMP, "mountPath": "/tmp"},  # noqa: S108  (the pod's own)
            {"name": _SHM, "mountPath": "/dev/shm"},  # noqa: S108
            *keys.mounts(spec),
            *([{"name": engines.HANDOVER, "mountPath": engines.HANDOVER_DIR}] if handover else []),
        ],
    }
    if spec.engine.args:
        container["args"] = list(spec.engine.args)
    return container


def environment(spec: LlamaDeploymentSpec, name: str, revision: str, settings: PlanSettings) -> dict[str, str]:
    """Return the environment of the inference server, as docs/architecture.md lists it."""
    grace = spec.termination_grace_period_seconds
    drain = max(grace - _DRAIN_MARGIN_SECONDS, grace // 2)
    generation = spec.generation.model_dump(mode="json", exclude_none=True)
    context, sequences = spec.engine.max_context_tokens, spec.engine.max_concurrent_sequences
    values = {
        Env.MODEL: spec.model.repo,
        Env.REVISION: revision,
        Env.SERVED_NAME: name,
        Env.ENDPOINT: (spec.model.endpoint or settings.hub_endpoint) if source.asks_hub(spec) else None,
        **source.environment(spec),
        Env.BACKEND: spec.engine.name,
        Env.DTYPE: spec.engine.dtype,
        Env.MAX_CONTEXT_TOKENS: None if context is None else str(context),
        Env.MAX_CONCURRENT_SEQUENCES: None if sequences is None else str(sequences),
        Env.MAX_QUEUE: str(spec.engine.max_queued_requests),
        Env.GENERATION_DEFAULTS: json.dumps(generation["defaults"], sort_keys=True),
        Env.GENERATION_MAXIMUMS: json.dumps(generation["maximums"], sort_keys=True),
        Env.DRAIN_SECONDS: str(drain),
        **_nodes(spec),
        Env.GOLDEN_PROMPTS: _golden(spec),
        Env.API_KEYS_DIR: names.KEYS_DIR if keys.required(spec) else None,
    }
    served = package.of(spec)
    found = {**values, **engines.of(spec).env} if served is None else package_pods.instead(values, served)
    return {str(key): value for key, value in found.items() if value is not None}


def _golden(spec: LlamaDeploymentSpec) -> str | None:
    """Return the golden prompts; unset where there are none, so that their coming restarted no pod."""
    prompts = [golden_json(prompt) for prompt in spec.rollout.golden_prompts]
    return json.dumps(prompts, sort_keys=True) if prompts else None


def _nodes(spec: LlamaDeploymentSpec) -> dict[Env, str]:
    nodes = spec.resources.gpu.nodes
    if nodes == 1:
        return {}
    # The controller of LeaderWorkerSets puts both of its variables before these in each pod.
    where = {Env.NODE_RANK: "$(LWS_WORKER_INDEX)", Env.LEADER_ADDRESS: "$(LWS_LEADER_ADDRESS)"}
    return {Env.NODES: str(nodes), **where}


def _volumes(spec: LlamaDeploymentSpec, name: str, revision: str) -> list[dict[str, Any]]:
    served = package.of(spec)
    return [
        *(source.volumes(spec, name, revision) if served is None else package_pods.volumes(served)),
        {"name": _TMP, "emptyDir": {}},
        {"name": _SHM, "emptyDir": {"medium": "Memory", "sizeLimit": spec.resources.shared_memory}},
        *keys.volumes(spec, name),
        *([{"name": engines.HANDOVER, "emptyDir": {}}] if engines.of(spec).beside else []),
    ]


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": names.PORT_NAME}, **timing}
