"""The names that a plan applies to, and whose the objects are that hold them now."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llama_operator import names
from llama_operator.plan import budget, gateway, sharing, sleep
from llama_operator.plan.observed import Key, Object, Observed, Ref

OPTIONAL_KINDS: Final = frozenset({"ServiceMonitor", "LeaderWorkerSet"})
"""Kinds of other projects, which a cluster may not know."""


class Wanted(NamedTuple):
    """What a plan may apply."""

    account: Ref
    cache: Ref
    service: Ref
    keys: Ref
    workload: Ref
    network_policy: Ref
    download_policy: Ref
    service_monitor: Ref
    group: Ref


def wanted_refs(key: Key) -> Wanted:
    """Return what a plan for `key` may apply."""
    return Wanted(
        account=Ref("v1", "ServiceAccount", key.name),
        cache=Ref("v1", "PersistentVolumeClaim", names.cache_claim(key.name)),
        service=Ref("v1", "Service", key.name),
        keys=Ref("v1", "Secret", names.api_keys(key.name)),
        workload=Ref("apps/v1", "Deployment", key.name),
        network_policy=Ref("networking.k8s.io/v1", "NetworkPolicy", key.name),
        download_policy=Ref("networking.k8s.io/v1", "NetworkPolicy", names.download_policy(key.name)),
        service_monitor=Ref("monitoring.coreos.com/v1", "ServiceMonitor", key.name),
        group=Ref("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", f"{key.name}{names.GROUP_SUFFIX}"),
    )


def named_refs(key: Key, body: Object) -> tuple[Ref, ...]:
    """Return every name that a plan for a raw LlamaDeployment may apply to, whoever holds it now."""
    spec: Mapping[str, Any] = body.get("spec") or {}
    budgets = (budget.ref(key),) if spec.get("disruptionBudget") else ()
    return (*wanted_refs(key), *(gateway.refs(key) if sleep.is_asked(body) else ()), *budgets)


def is_ours(obj: Object, seen: Observed) -> bool:
    """Whether a live object belongs to this LlamaDeployment: it owns it, or may.

    It may own the cache that was retained, and a ConfigMap with its package.
    """
    owners = obj["metadata"].get("ownerReferences", ())
    if any(owner["uid"] == seen.uid for owner in owners) or sharing.is_shared(obj):
        return True
    labels: Mapping[str, str] = obj["metadata"].get("labels", {})
    retained = labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
    named = labels.get(names.LABEL_DEPLOYMENT) == seen.key.name
    return (
        not owners and named and (obj["kind"] == "ConfigMap" or (obj["kind"] == "PersistentVolumeClaim" and retained))
    )


def is_foreign(ref: Ref, seen: Observed) -> bool:
    """Whether somebody else's object has a name that is wanted."""
    live = seen.children.get(ref)
    return live is not None and not is_ours(live, seen)
