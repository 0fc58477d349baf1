"""How pods get at the model: the volume, where it is mounted, and what the server is told of it.

| `model.source` | `cache.shared` | volume | who writes it |
|---|---|---|---|
| hub | false | PVC of the LlamaDeployment | the server itself |
| hub | true | PVC of the repository's commit, read only | a Job, before the pods |
| pvc | | the claim that the spec names, read only | somebody, before |
| oci | | an image volume, read only | whoever built the image |
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_operator import names
from llama_operator.names import Env
from llama_operator.spec.model import LlamaDeploymentSpec

CACHE: Final = "cache"
TOKEN: Final = "hub-token"  # noqa: S105  (a volume's name)
MODEL: Final = "model"


def is_shared(spec: LlamaDeploymentSpec) -> bool:
    """Whether the cache is that of every LlamaDeployment with the same commit."""
    return spec.model.source == "hub" and spec.cache.shared


def asks_hub(spec: LlamaDeploymentSpec) -> bool:
    """Whether the serving pods speak to a Hub."""
    return spec.model.source == "hub" and not spec.cache.shared


def claim_name(spec: LlamaDeploymentSpec, name: str, revision: str) -> str | None:
    """Return the PVC that the LlamaDeployment `name` caches `revision` in; None if it has no cache."""
    if spec.model.source != "hub":
        return None
    return names.shared_claim(spec.model.repo, revision) if spec.cache.shared else names.cache_claim(name)


def as_loaded(
    spec: LlamaDeploymentSpec, name: str, template: Mapping[str, Any]
) -> tuple[LlamaDeploymentSpec, str] | None:
    """Return the spec with the model and the cache that a pod template of earlier has, and the revision of it.

    How it is fetched is still the present spec's: the token of then may be gone. None if it has no cache.
    """
    server = next(row for row in template["spec"]["containers"] if row["name"] == names.CONTAINER)
    env = {row["name"]: row.get("value") for row in server.get("env") or ()}
    repo, revision = env.get(Env.MODEL), env.get(Env.REVISION)
    if not repo or not revision:
        return None
    shared = {names.shared_claim(repo, revision): True, names.cache_claim(name): False}
    found = next((shared[row] for row in claims_of(template) if row in shared), None)
    if found is None:
        return None
    model = spec.model.model_copy(update={"repo": repo, "source": "hub", "claim": None, "image": None})
    cache = spec.cache.model_copy(update={"shared": found})
    return spec.model_copy(update={"model": model, "cache": cache}), revision


def claims_of(pod: Mapping[str, Any]) -> Iterator[str]:
    """Yield the PVCs that a pod or pod template mounts."""
    for volume in pod.get("spec", {}).get("volumes") or ():
        if found := volume.get("persistentVolumeClaim"):
            yield found["claimName"]


def secrets_of(pod: Mapping[str, Any]) -> Iterator[str]:
    """Yield the Secrets that a pod or pod template mounts."""
    for volume in pod.get("spec", {}).get("volumes") or ():
        if found := volume.get("secret"):
            yield found["secretName"]


def token_secret(spec: LlamaDeploymentSpec) -> tuple[str, str]:
    """Return name and key of the Secret that holds the Hub token: the spec's, or the one that is looked for."""
    ref = spec.model.token_secret_ref
    return (ref.name, ref.key) if ref else (names.DEFAULT_TOKEN_SECRET, names.DEFAULT_TOKEN_KEY)


def volumes(spec: LlamaDeploymentSpec, name: str, revision: str) -> list[dict[str, Any]]:
    """Return the volumes that a serving pod needs for its model."""
    model, claim = spec.model, claim_name(spec, name, revision)
    if model.claim is not None:
        return [{"name": MODEL, "persistentVolumeClaim": {"claimName": model.claim.name, "readOnly": True}}]
    if model.image is not None:
        image = {"reference": model.image.reference, "pullPolicy": model.image.pull_policy}
        return [{"name": MODEL, "image": image}]
    cache = {"name": CACHE, "persistentVolumeClaim": {"claimName": claim}}
    return [cache] if spec.cache.shared else [cache, token_volume(spec)]


def token_volume(spec: LlamaDeploymentSpec) -> dict[str, Any]:
    """Return the volume with the Hub token."""
    secret, key = token_secret(spec)
    return {
        "name": TOKEN,
        # Optional also where the spec names the Secret: pods are created only once it exists (preflight), and one
        # that starts after it vanished can say so, instead of hanging before its first line of log.
        "secret": {
            "secretName": secret,
            "optional": True,
            "defaultMode": 0o440,
            "items": [{"key": key, "path": names.TOKEN_FILE.rpartition("/")[2]}],
        },
    }


def mounts(spec: LlamaDeploymentSpec) -> list[dict[str, Any]]:
    """Return where a serving pod has them."""
    if spec.model.source != "hub":
        return [{"name": MODEL, "mountPath": names.MODEL_DIR, "readOnly": True}]
    if spec.cache.shared:
        return [{"name": CACHE, "mountPath": names.CACHE_DIR, "readOnly": True}]
    return [{"name": CACHE, "mountPath": names.CACHE_DIR}, token_mount()]


def token_mount() -> dict[str, Any]:
    """Return where the Hub token is."""
    return {"name": TOKEN, "mountPath": names.TOKEN_DIR, "readOnly": True}


def environment(spec: LlamaDeploymentSpec) -> dict[Env, str | None]:
    """Return what the server is told of its model's place."""
    model = spec.model
    if model.source != "hub":
        path = model.claim.path if model.claim else model.image.path if model.image else ""
        return {Env.MODEL_DIR: f"{names.MODEL_DIR}/{path}".rstrip("/")}
    if spec.cache.shared:
        return {Env.CACHE_DIR: names.CACHE_DIR, Env.OFFLINE: "true"}
    return {Env.CACHE_DIR: names.CACHE_DIR, Env.TOKEN_FILE: names.TOKEN_FILE}
