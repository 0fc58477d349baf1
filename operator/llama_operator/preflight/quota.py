"""Could the namespace's ResourceQuotas ever admit one replica? Judged by what they allow, not by what is used of it."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from llama_operator.plan.observed import Object
from llama_operator.preflight.finding import Finding, amount_of, failed
from llama_operator.preflight.limits import field_of
from llama_operator.preflight.pod import Pod, amounts

_OBJECTS: Final = frozenset(
    {
        "pods",
        "services",
        "persistentvolumeclaims",
        "count/pods",
        "count/services",
        "count/serviceaccounts",
        "count/persistentvolumeclaims",
        "count/deployments.apps",
        "count/replicasets.apps",
    }
)
"""What one LlamaDeployment needs one of."""
_COMPUTE: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_OF_CLASS: Final = ".storageclass.storage.k8s.io/"


def check(
    pod: Pod, quotas: Sequence[Object], *, pods: int = 1, claim: Decimal | None, storage_class: str | None
) -> Iterator[Finding]:
    """Yield what the quotas would refuse even if nothing else were in the namespace.

    Args:
        pod: a pod of a replica, with the defaults of the LimitRanges filled in.
        pods: how many of them a replica has.
        quotas: the ResourceQuotas of the namespace.
        claim: bytes of the volume that is to be claimed; None if it is there already.
        storage_class: the class that it is claimed from, if that is known.
    """
    for quota in quotas:
        if not _covers(quota["spec"], pod):
            continue
        name = quota["metadata"]["name"]
        for resource, hard in amounts(quota["spec"].get("hard") or {}).items():
            yield from _unsaid(pod, name, resource)
            wants = _wants(resource, pod, claim, storage_class, pods=pods)
            if wants is not None and wants > hard:
                yield _too_small(name, resource, wants, hard)


def _wants(resource: str, pod: Pod, claim: Decimal | None, storage_class: str | None, *, pods: int) -> Decimal | None:
    if resource in ("pods", "count/pods"):
        return Decimal(pods)
    if resource in _OBJECTS:
        there = claim is None and resource.endswith("persistentvolumeclaims")
        return None if there else Decimal(1)
    owner, of_class, counted = resource.partition(_OF_CLASS)
    if of_class:
        if owner != storage_class:
            return None
        resource = counted
    if resource == "persistentvolumeclaims":
        return None if claim is None else Decimal(1)
    if resource == "requests.storage":
        return claim
    kind, _, name = resource.partition(".")
    found = pod.limits.get(name) if kind == "limits" else pod.requests.get(name if kind == "requests" else resource)
    return None if found is None else found * pods


def _too_small(quota: str, resource: str, wants: Decimal, hard: Decimal) -> Finding:
    what = resource.rpartition("/")[2] if _OF_CLASS in resource else resource
    name = what.removeprefix("requests.").removeprefix("limits.")
    lower = "" if resource in _OBJECTS else f", or lower {_field(what, name)}"
    return failed(
        "Quota",
        "QuotaTooSmall",
        f"ResourceQuota {quota} allows {amount_of(name, hard)} of {resource} in all, and one replica wants "
        f"{amount_of(name, wants)}: raise the quota{lower}",
    )


def _field(resource: str, name: str) -> str:
    return "spec.resources.memoryLimit" if resource == "limits.memory" else field_of(name)


def _unsaid(pod: Pod, quota: str, resource: str) -> Iterator[Finding]:
    """Yield what every container has to say because a quota counts it, and does not."""
    kind, _, name = (
        resource.partition(".") if resource.startswith(("requests.", "limits.")) else ("requests", "", resource)
    )
    if name not in _COMPUTE:
        return
    silent = [row.name for row in pod.every if name not in (row.limits if kind == "limits" else row.requests)]
    if not silent:
        return
    field = "spec.resources.memoryLimit" if (kind, name) == ("limits", "memory") else "it in spec.podTemplate"
    yield failed(
        "Quota",
        "QuotaTooSmall",
        f"ResourceQuota {quota} counts {kind}.{name}, so that every container must set it, and {', '.join(silent)} "
        f"does not: set {field}, or a default in a LimitRange",
    )


def _covers(spec: Mapping[str, Any], pod: Pod) -> bool:
    """Whether a quota's scopes take in the pods of a server: they run on, and have requests."""
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_in_scope(row, pod) for row in scopes)


def _in_scope(row: Mapping[str, Any], pod: Pod) -> bool:
    match row["scopeName"]:
        case "NotTerminating" | "NotBestEffort":
            return True
        case "PriorityClass":
            name, values = pod.spec.get("priorityClassName"), row.get("values") or ()
            return {
                "In": name in values,
                "NotIn": name not in values,
                "Exists": bool(name),
                "DoesNotExist": not name,
            }.get(row["operator"], False)
        case _:
            return False
