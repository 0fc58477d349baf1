"""A cache for several LlamaDeployments: one volume for each commit, the Job that fills it, and when it is let go.

Pods are made once the Job is complete, so that nothing half-written is served, and no GPU waits for a download. The
volume has an owner reference from each LlamaDeployment that uses it, and goes with the last; each applies its own
under a field manager of its own, so that none takes away another's. The Job has the same owners: were it the volume
that owns it, both would wait for each other to go, for a volume stays while the Job's pod names it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from llama_operator import names
from llama_operator.names import Env
from llama_operator.plan import source
from llama_operator.plan.diff import differs, digest, stamped
from llama_operator.plan.observed import Key, Object, Observed, Ref, SecretFact, ref_of
from llama_operator.plan.quantity import amount
from llama_operator.plan.sizing import cache_size
from llama_operator.spec.cache import Cache
from llama_operator.spec.model import LlamaDeploymentSpec

_NEVER: Final = 2**31 - 1
"""A Job goes on for as long as somebody wants its model, as a Deployment does."""


def claim_ref(name: str) -> Ref:
    """Return the reference of a cache's claim."""
    return Ref("v1", "PersistentVolumeClaim", name)


def job_ref(name: str) -> Ref:
    """Return the reference of the Job that fills the cache `name`."""
    return Ref("batch/v1", "Job", name)


def is_shared(obj: Object) -> bool:
    """Whether a live object belongs to several LlamaDeployments."""
    labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return labels.get(names.LABEL_DEPLOYMENT) == names.SHARED and labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY


def owners(obj: Object) -> tuple[Mapping[str, Any], ...]:
    """Return the owner references of an object."""
    return tuple(obj["metadata"].get("ownerReferences") or ())


def owns(seen: Observed, obj: Object) -> bool:
    """Whether this LlamaDeployment is one of the owners."""
    return any(row["uid"] == seen.uid for row in owners(obj))


def is_complete(job: Object | None) -> bool:
    """Whether a Job has filled its cache."""
    rows = (job or {}).get("status", {}).get("conditions") or ()
    return any(row["type"] == "Complete" and row["status"] == "True" for row in rows)


def claim(
    spec: LlamaDeploymentSpec, seen: Observed, revision: str, *, model_bytes: int | None = None
) -> dict[str, Any]:
    """Return the shared PVC of a model, stamped."""
    name = names.shared_claim(spec.model.repo, revision)
    size = _size(spec.model.repo, model_bytes, seen)
    return volume(spec.cache, seen, name, content=f"{spec.model.repo}@{revision}", size=size)


def volume(wanted: Cache, seen: Observed, name: str, *, content: str, size: str) -> dict[str, Any]:
    """Return a PVC that is shared, stamped: the same for everybody who shares it, but for the owner reference.

    Of a live claim class, mode and size stay, unless the spec names a larger size; `size` is that of a new one where
    the spec names none. Once somebody has asked to retain it, nobody owns it any more.
    """
    live = seen.children.get(claim_ref(name))
    size = wanted.size or size
    found: dict[str, Any] = {"accessModes": [wanted.access_mode]}
    storage_class = wanted.storage_class_name
    if live is not None:
        held = live["spec"]["resources"]["requests"]["storage"]
        found["accessModes"], storage_class = live["spec"]["accessModes"], live["spec"].get("storageClassName")
        size = wanted.size if wanted.size and amount(wanted.size) > amount(held) else held
    if storage_class:
        found["storageClassName"] = storage_class
    found["resources"] = {"requests": {"storage": size}}
    annotations = {names.ANNOTATION_CONTENT: content}
    retained = wanted.retain or (live is not None and _is_retained(live))
    if retained:
        annotations[names.ANNOTATION_RETAIN] = "true"
    metadata = _metadata(seen.key, name, annotations)
    obj = stamped({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": found})
    if not retained:
        obj["metadata"]["ownerReferences"] = [_reference(seen)]
    return obj


def _size(repo: str, model_bytes: int | None, seen: Observed) -> str:
    """Return the size by the model's files, else that of the largest volume of another revision, else by the name."""
    others = [
        obj["spec"]["resources"]["requests"]["storage"]
        for ref, obj in seen.children.items()
        if ref.kind == "PersistentVolumeClaim" and is_shared(obj) and _repo_of(obj) == repo
    ]
    return max(others, key=amount) if others and model_bytes is None else cache_size(repo, model_bytes, shared=True)


def _repo_of(claim: Object) -> str:
    return (claim["metadata"].get("annotations") or {}).get(names.ANNOTATION_CONTENT, "").rpartition("@")[0]


def _is_retained(live: Object) -> bool:
    return (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_RETAIN) == "true"


def _metadata(key: Key, name: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    labels = names.shared_labels()
    return {"name": name, "namespace": key.namespace, "labels": labels, "annotations": dict(annotations)}


def _reference(seen: Observed) -> dict[str, Any]:
    """Return our owner reference: no controller, for an object has at most one of these."""
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": seen.key.name, "uid": seen.uid}


def must_apply(obj: Object, seen: Observed) -> bool:
    """Whether a shared object has to be applied: it differs, or our owner reference should come or go."""
    live = seen.children.get(ref_of(obj))
    if obj["kind"] == "Job":  # its template cannot change
        return live is None or not (owns(seen, live) or "deletionTimestamp" in live["metadata"])
    return differs(obj, live, settled=ref_of(obj) in seen.settled) or (
        live is not None and not owners(obj) and owns(seen, live)
    )


def applied(obj: Object, seen: Observed) -> Object:
    """Return what to apply of a shared object: of a Job that another has made the owner reference alone."""
    live = seen.children.get(ref_of(obj))
    if obj["kind"] != "Job" or live is None or _keeper(live) == seen.uid:
        return obj
    kept = {name: obj["metadata"][name] for name in ("name", "namespace", "labels", "ownerReferences")}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": kept}


def job(
    spec: LlamaDeploymentSpec, seen: Observed, revision: str, template: Object, endpoint: str | None
) -> dict[str, Any] | None:
    """Return the Job that fills the cache, made of the serving pods' `template`; None before the volume is there."""
    name = names.shared_claim(spec.model.repo, revision)
    volume = seen.children.get(claim_ref(name))
    if volume is None or not is_shared(volume) or "deletionTimestamp" in volume["metadata"]:
        return None
    pod = {
        "metadata": {"labels": names.shared_labels()},
        "spec": _pod(spec, name, revision, template["spec"], endpoint),
    }
    annotations = {
        names.ANNOTATION_CONTENT: f"{spec.model.repo}@{revision}",
        names.ANNOTATION_TEMPLATE: digest(pod),
        names.ANNOTATION_KEEPER: seen.uid,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**_metadata(seen.key, name, annotations), "ownerReferences": [_reference(seen)]},
        "spec": {"backoffLimit": _NEVER, "template": pod},
    }


def _server(pod: Object) -> Mapping[str, Any]:
    return next(row for row in pod["containers"] if row["name"] == names.CONTAINER)


def _pod(spec: LlamaDeploymentSpec, claim: str, revision: str, serving: Object, endpoint: str | None) -> dict[str, Any]:
    """Return a pod that may run wherever the serving pods may, under the same limits, without a GPU."""
    server = _server(serving)
    env = [row for row in server.get("env", ()) if not row["name"].startswith("LLAMA_INFERENCE_")]
    ours = {
        Env.MODEL: spec.model.repo,
        Env.REVISION: revision,
        Env.ENDPOINT: endpoint,
        Env.CACHE_DIR: names.CACHE_DIR,
        Env.TOKEN_FILE: names.TOKEN_FILE,
    }
    env += [{"name": str(name), "value": value} for name, value in ours.items() if value]
    kept = ("imagePullSecrets", "securityContext", "nodeSelector", "tolerations", "affinity", "priorityClassName")
    tmp = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108  (the pod's own)
    container = {
        "name": names.CONTAINER,
        "image": server["image"],
        "imagePullPolicy": server["imagePullPolicy"],
        "command": ["llama-inference", "download"],
        "env": env,
        "ports": server["ports"],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "startupProbe": server["startupProbe"],
        # Never ready, for it serves nobody: what is not ready is asked how far it is.
        "readinessProbe": server["readinessProbe"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": server["securityContext"],
        "volumeMounts": [{"name": source.CACHE, "mountPath": names.CACHE_DIR}, source.token_mount(), tmp],
    }
    return {
        **{name: serving[name] for name in kept if name in serving},
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
        "volumes": [
            {"name": source.CACHE, "persistentVolumeClaim": {"claimName": claim}},
            source.token_volume(spec),
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def outdated(wanted: Object, seen: Observed) -> bool:
    """Whether the live Job must give way to `wanted`: unfinished, of another template, and ours to replace.

    Only one of those that share it may replace it, or two with different specs would in turn.
    """
    live = seen.children.get(ref_of(wanted))
    if live is None or is_complete(live) or "deletionTimestamp" in live["metadata"]:
        return False
    has: Mapping[str, str] = live["metadata"].get("annotations") or {}
    wants: Mapping[str, str] = wanted["metadata"]["annotations"]
    keeper, volume = _keeper(live), seen.children.get(claim_ref(wanted["metadata"]["name"]))
    ours = keeper == seen.uid or not any(row["uid"] == keeper for row in owners(volume or wanted))
    return ours and has.get(names.ANNOTATION_TEMPLATE) != wants[names.ANNOTATION_TEMPLATE]


def _keeper(job: Object) -> str | None:
    return (job["metadata"].get("annotations") or {}).get(names.ANNOTATION_KEEPER)


def left_behind(seen: Observed, used: Collection[str]) -> Iterator[Ref]:
    """Yield the shared objects that we own and need no more, for they are not of the volumes that are `used`."""
    for ref, obj in seen.children.items():
        if is_shared(obj) and owns(seen, obj) and ref.name not in used and "deletionTimestamp" not in obj["metadata"]:
            yield ref


def waits(desired: Iterable[Object], seen: Observed) -> bool:
    """Whether pods have to wait for a shared cache to be filled."""
    refs = [ref_of(obj) for obj in desired if is_shared(obj)]
    jobs = [ref for ref in refs if ref.kind == "Job"]
    return bool(refs) and not (jobs and all(is_complete(seen.children.get(ref)) for ref in jobs))


def mounts_secret(pod: Object, secret: SecretFact | None) -> bool:
    """Whether the token of a pod comes from this Secret."""
    volumes = pod.get("spec", {}).get("volumes") or ()
    return any((row.get("secret") or {}).get("secretName") == (secret and secret.name) for row in volumes)
