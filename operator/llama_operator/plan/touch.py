"""Which pods to annotate, so that the kubelet refreshes their Secret volumes at once and not within a minute or two.

The annotation has the version of the Secret that the pod was told of: each version is told once.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_operator import names
from llama_operator.plan import sharing
from llama_operator.plan.observed import Object, Observed, Ref

TOKEN_REASONS: Final = frozenset({"TokenMissing", "TokenRejected", "AccessDenied", "RepositoryNotFound"})
"""Reasons in a start-up report that another token may mend; the Hub hides a repository from who may not read it."""


def touched(seen: Observed, keys: Ref) -> dict[str, dict[str, str]]:
    """Return the annotations to set, by pod: of pods that wait for a token, and of all that read the Secret `keys`."""
    found: dict[str, dict[str, str]] = {}
    mounting = (pod for pod in seen.downloads if sharing.mounts_secret(pod, seen.secret))
    for pod in (*seen.pods, *seen.workers, *seen.gateways, *mounting):
        stale = dict(_stale(pod, seen, seen.children.get(keys)))
        if stale:
            found[pod["metadata"]["name"]] = stale
    return found


def _stale(pod: Object, seen: Observed, keys: Object | None) -> Iterator[tuple[str, str]]:
    told: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    token = seen.secret.resource_version if seen.secret and seen.secret.exists else None
    if token is not None and _waits_for_token(pod, seen) and told.get(names.ANNOTATION_SECRET_SEEN) != token:
        yield names.ANNOTATION_SECRET_SEEN, token
    version = keys["metadata"].get("resourceVersion") if keys is not None else None
    # A pod without a node has mounted nothing yet.
    if version is not None and _mounts(pod, keys) and told.get(names.ANNOTATION_KEYS_SEEN) != version:
        yield names.ANNOTATION_KEYS_SEEN, version


def _waits_for_token(pod: Object, seen: Observed) -> bool:
    error: Mapping[str, Any] = seen.startup.get(pod["metadata"]["name"], {}).get("error") or {}
    return error.get("reason") in TOKEN_REASONS


def _mounts(pod: Object, secret: Object | None) -> bool:
    spec: Mapping[str, Any] = pod.get("spec") or {}
    name = secret["metadata"]["name"] if secret is not None else None
    volumes: list[Mapping[str, Any]] = spec.get("volumes") or []
    return bool(spec.get("nodeName")) and any((row.get("secret") or {}).get("secretName") == name for row in volumes)
