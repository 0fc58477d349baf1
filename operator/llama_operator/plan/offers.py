"""What a node has for pods, out of the node as the API server has it. Pure."""

from collections.abc import Mapping
from typing import Any

from llama_operator.names import TAINT_CORDONED
from llama_operator.plan.observed import NodeOffer, Object


def offer(node: Object) -> NodeOffer:
    """Return what a node has for pods."""
    spec: Mapping[str, Any] = node.get("spec") or {}
    taints: tuple[Mapping[str, str], ...] = tuple(spec.get("taints") or ())
    if spec.get("unschedulable") and not any(taint["key"] == TAINT_CORDONED for taint in taints):
        taints = (*taints, {"key": TAINT_CORDONED, "effect": "NoSchedule"})  # as Kubernetes is about to
    return NodeOffer(
        name=node["metadata"]["name"],
        labels=node["metadata"].get("labels") or {},
        taints=taints,
        allocatable=(node.get("status") or {}).get("allocatable") or {},
    )
