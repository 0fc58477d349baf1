"""The Lease by which a sleeping model's gateways and the operator agree who may stop its pods, and when.

The gateways write whether the model is wanted, the operator whether its pods are to run; each writes onto exactly the
Lease that it has read. So of a last request and a decision to stop, one comes first, and the other learns of it: a
gateway sends nothing on before the Lease that says `awake` is its own, and the operator stops no pod before the Lease
says `asleep`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from llama_operator import names
from llama_operator.plan.observed import Object

KIND: Final = "Lease"
API_VERSION: Final = "coordination.k8s.io/v1"


class Pods(StrEnum):
    """What the operator says of the pods."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    STOPPED = "stopped"
    """By `spec.replicas: 0`: no request wakes them."""


_PODS: Final[Mapping[str, Pods]] = {pods.value: pods for pods in Pods}


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a Lease says: `wanted` by the gateways, `pods` by the operator, and how long the last start took."""

    version: str
    wanted: bool
    pods: Pods
    startup_seconds: float | None = None


def read(lease: Object) -> Activity:
    """Return what a Lease says; where it says nothing, the model is wanted and its pods run."""
    said: Mapping[str, str] = lease["metadata"].get("annotations") or {}
    return Activity(
        version=lease["metadata"].get("resourceVersion", ""),
        wanted=said.get(names.ANNOTATION_WANTED) != "false",
        pods=_PODS.get(said.get(names.ANNOTATION_PODS, ""), Pods.AWAKE),
        startup_seconds=_seconds(said.get(names.ANNOTATION_STARTUP)),
    )


def written(lease: Object, *, wanted: bool, by: str, now: datetime) -> dict[str, Any]:
    """Return the Lease with a gateway's word and the time of it; the rest stays as it is."""
    meta: Mapping[str, Any] = lease["metadata"]
    annotations = {**(meta.get("annotations") or {}), names.ANNOTATION_WANTED: "true" if wanted else "false"}
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {**(lease.get("spec") or {}), "holderIdentity": by, "renewTime": time}
    return {**lease, "metadata": {**meta, "annotations": annotations}, "spec": spec}


def is_answered(lease: Object) -> bool:
    """Whether the operator has nothing to do about a Lease: what is wanted is what is."""
    found = read(lease)
    return found.pods is Pods.STOPPED or found.wanted == (found.pods is Pods.AWAKE)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def age(lease: Object, now: datetime) -> float:
    """Return the seconds since a gateway last wrote on a Lease; 0 where none ever has."""
    time = (lease.get("spec") or {}).get("renewTime")
    return (now - datetime.fromisoformat(time)).total_seconds() if time else 0.0
