"""The objects around a model that may sleep: its gateway, the Service of its pods, and the Lease between the two.

The gateway may read and write that one Lease, and nothing else.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_operator import names
from llama_operator.plan import activity, keys, sleep
from llama_operator.plan.objects import answering, metadata
from llama_operator.plan.observed import Key, Object, Observed, Ref
from llama_operator.plan.settings import PlanSettings
from llama_operator.spec.model import LlamaDeploymentSpec

RBAC: Final = "rbac.authorization.k8s.io"
_LEAVE_SECONDS: Final = 5
_ADMIN_PORT: Final = 8081
_BASE_MIB: Final = 128
_HELD_KIB: Final = 192
"""Memory of the gateway: of the process, and of each request that waits (its body's first 128 KiB, and the rest)."""
_DEADLINE_SECONDS: Final = 120


def refs(key: Key) -> tuple[Ref, ...]:
    """Return the names of all that stands in front of a model that may sleep."""
    name = names.gateway(key.name)
    return (
        Ref("v1", "ServiceAccount", name),
        Ref(f"{RBAC}/v1", "Role", name),
        Ref(f"{RBAC}/v1", "RoleBinding", name),
        Ref("v1", "Service", names.pods_service(key.name)),
        Ref("networking.k8s.io/v1", "NetworkPolicy", name),
        sleep.lease_ref(key),
        sleep.gateway_ref(key),
    )


def parts(spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings) -> Iterator[dict[str, Any]]:
    """Yield the objects, the Lease among them: it says what the pods are to do before they do it."""
    if not sleep.may_sleep(spec):
        return
    key, owner = seen.key, seen.body
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(key, names.gateway(key.name), owner),
        "automountServiceAccountToken": False,
    }
    yield from _rights(key, owner)
    yield _pods_service(spec, key, owner)
    yield _lease(spec, seen)
    yield _deployment(spec, key, owner, settings)


def _metadata(key: Key, name: str, owner: Object, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    found = metadata(key, name, owner=owner, annotations=annotations)
    return {**found, "labels": {**found["labels"], **names.gateway_selector(key.name)}}


def _rights(key: Key, owner: Object) -> Iterator[dict[str, Any]]:
    name = names.gateway(key.name)
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [names.activity_lease(key.name)],
        "verbs": ["get", "update"],
    }
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": _metadata(key, name, owner),
        "rules": [rule],
    }
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(key, name, owner),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": key.namespace}],
    }


def _pods_service(spec: LlamaDeploymentSpec, key: Key, owner: Object) -> dict[str, Any]:
    port = {"name": names.PORT_NAME, "port": 80, "targetPort": names.PORT_NAME, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(key, names.pods_service(key.name), owner=owner),
        "spec": {
            "type": "ClusterIP",
            "selector": answering(spec, key),
            "ports": [{**port, "appProtocol": "http"}],
        },
    }


def _lease(spec: LlamaDeploymentSpec, seen: Observed) -> dict[str, Any]:
    said: dict[str, str] = {names.ANNOTATION_PODS: sleep.state(spec, seen).value}
    seconds = sleep.startup_seconds(seen)
    if seconds is not None:
        said[names.ANNOTATION_STARTUP] = str(seconds)
    return {
        "apiVersion": activity.API_VERSION,
        "kind": activity.KIND,
        "metadata": _metadata(seen.key, names.activity_lease(seen.key.name), seen.body, said),
    }


def _deployment(spec: LlamaDeploymentSpec, key: Key, owner: Object, settings: PlanSettings) -> dict[str, Any]:
    selector = names.gateway_selector(key.name)
    labels = {**names.child_labels(key.name), **selector}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(key, names.gateway(key.name), owner),
        "spec": {
            "replicas": spec.scaling.gateway_replicas,
            "selector": {"matchLabels": selector},
            "progressDeadlineSeconds": _DEADLINE_SECONDS,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels}, "spec": _pod(spec, key, settings)},
        },
    }


def _pod(spec: LlamaDeploymentSpec, key: Key, settings: PlanSettings) -> dict[str, Any]:
    stop_seconds = spec.scaling.hold_seconds + spec.termination_grace_period_seconds
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.gateway_selector(key.name)},
    }
    pod: dict[str, Any] = {
        "serviceAccountName": names.gateway(key.name),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        # Requests that wait and those that a pod works on may both end.
        "terminationGracePeriodSeconds": _LEAVE_SECONDS + stop_seconds + 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.RUN_AS,
            "runAsGroup": names.RUN_AS,
            "seccompProfile": {"type": "RuntimeDefault"},
            **({"fsGroup": names.RUN_AS} if keys.required(spec) else {}),
        },
        "topologySpreadConstraints": [spread],
        "containers": [_container(spec, key, settings, stop_seconds)],
    }
    secrets = (spec.pod_template.get("spec") or {}).get("imagePullSecrets")
    more = {"imagePullSecrets": secrets, "volumes": keys.volumes(spec, key.name)}
    return {**pod, **{name: rows for name, rows in more.items() if rows}}


def _container(spec: LlamaDeploymentSpec, key: Key, settings: PlanSettings, stop_seconds: int) -> dict[str, Any]:
    scaling = spec.scaling
    at_once = max(1, spec.engine.max_queued_requests // scaling.gateway_replicas)
    values = {
        "NAMESPACE": key.namespace,
        "LEASE": names.activity_lease(key.name),
        "UPSTREAM": f"http://{names.pods_service(key.name)}.{key.namespace}.svc",
        "IDLE_SECONDS": scaling.idle_seconds,
        "HOLD_SECONDS": scaling.hold_seconds,
        "MAX_HELD_REQUESTS": scaling.max_held_requests,
        "AT_ONCE": at_once,
        "PORT": names.CONTAINER_PORT,
        "ADMIN_PORT": _ADMIN_PORT,
        "LEAVE_SECONDS": _LEAVE_SECONDS,
        "STOP_SECONDS": stop_seconds,
        **({"API_KEYS_DIR": names.KEYS_DIR} if keys.required(spec) else {}),
    }
    memory = _BASE_MIB + scaling.max_held_requests * _HELD_KIB // 1024
    mounts = keys.mounts(spec)
    return {
        "name": "gateway",
        "image": settings.gateway_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["gateway"],
        "env": [
            *({"name": f"LLAMA_GATEWAY_{name}", "value": str(value)} for name, value in values.items()),
            {"name": "LLAMA_GATEWAY_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": [
            {"name": names.PORT_NAME, "containerPort": names.CONTAINER_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": _ADMIN_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": f"{memory}Mi"}},
        "livenessProbe": _probe("/healthz", periodSeconds=10, timeoutSeconds=10, failureThreshold=6),
        "readinessProbe": _probe("/readyz", periodSeconds=2, timeoutSeconds=5, failureThreshold=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **({"volumeMounts": mounts} if mounts else {}),
    }


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "admin"}, **timing}
