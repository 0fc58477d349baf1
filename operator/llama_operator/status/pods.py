"""Read pods: which count, how far each is, what its containers do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from llama_operator import names
from llama_operator.names import CONTAINER, LAY_OUT, PACKAGE_CONTAINER, PACKAGE_TOOLS
from llama_operator.plan.engines import TGI
from llama_operator.plan.observed import Object, Observed


def condition_of(obj: Object, kind: str) -> Object | None:
    """Return the condition `kind` of a pod or Deployment."""
    rows = obj.get("status", {}).get("conditions", ())
    return next((row for row in rows if row["type"] == kind), None)


def is_active(pod: Object) -> bool:
    """Whether a pod counts: neither ended nor on its way out."""
    ended = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
    return not ended and "deletionTimestamp" not in pod["metadata"]


def is_ready(pod: Object) -> bool:
    """Whether the Service sends requests to a pod."""
    ready = condition_of(pod, "Ready")
    return is_active(pod) and ready is not None and ready["status"] == "True"


def of_rollout(seen: Observed, live: Object, number: int, *, going: bool = False) -> tuple[Object, ...]:
    """Return the active pods, workers too, of the rollout `number`, which the Deployment `live` has.

    Their ReplicaSets tell, which are looked at while a pod is not ready. With `going`, those too that are on their way
    out.
    """
    sets = {
        row["metadata"]["uid"]
        for row in seen.replica_sets
        if (row["metadata"].get("annotations") or {}).get(names.ANNOTATION_REVISION) == str(number)
    }
    return tuple(
        pod
        for pod in (*seen.pods, *seen.workers)
        if (going or is_active(pod)) and (any(uid in sets for uid in _owners(pod)) or _has_template(pod, live))
    )


def _owners(pod: Object) -> tuple[str, ...]:
    owners: list[Mapping[str, str]] = pod["metadata"].get("ownerReferences") or []
    return tuple(owner["uid"] for owner in owners)


def _has_template(pod: Object, live: Object) -> bool:
    """Whether a pod says that it has the present template, as those over several nodes do."""
    rows: list[Mapping[str, str]] = [obj["metadata"].get("annotations") or {} for obj in (pod, live)]
    says, wanted = (row.get(names.ANNOTATION_TEMPLATE) for row in rows)
    return says is not None and says == wanted


def is_unscheduled(pod: Object) -> bool:
    """Whether a pod has no node yet."""
    return not pod.get("spec", {}).get("nodeName")


OURS: Final = (CONTAINER, TGI, PACKAGE_CONTAINER, PACKAGE_TOOLS, LAY_OUT)
"""Containers that the operator makes and tells of."""


def container(pod: Object) -> dict[str, Any]:
    """Return the status of the server's container; empty before the kubelet has reported one."""
    return next((row for row in containers(pod) if row["name"] == CONTAINER), {})


def containers(pod: Object) -> tuple[dict[str, Any], ...]:
    """Return the statuses of what the operator runs in a pod: first the engine beside the server, for that waits."""
    status = pod.get("status", {})
    rows = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return tuple(row for row in rows if row["name"] in OURS)


def parse_time(text: str) -> datetime:
    """Return the time that Kubernetes or the server wrote."""
    return datetime.fromisoformat(text)


def written(time: datetime) -> str:
    """Return a time as Kubernetes writes it: UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_between(start: str, end: str) -> float:
    """Return the seconds from one written time to another, never negative."""
    return max(0.0, round((parse_time(end) - parse_time(start)).total_seconds(), 1))
