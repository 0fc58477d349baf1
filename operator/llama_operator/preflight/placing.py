"""The scheduler's rules about nodes, for a node as it is when nothing runs on it: selectors, affinity, taints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llama_operator.plan.observed import NodeOffer, Object

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_KEEPS_OUT: Final = frozenset({"NoSchedule", "NoExecute"})

Row = Mapping[str, Any]


def selected(pod_spec: Object, node: NodeOffer) -> bool:
    """Whether the pod's nodeSelector, required node affinity and nodeName let it onto the node."""
    name = pod_spec.get("nodeName")
    if name and name != node.name:
        return False
    selector: Mapping[str, str] = pod_spec.get("nodeSelector") or {}
    if not selector.items() <= node.labels.items():
        return False
    affinity: Row = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required: Row | None = affinity.get(_REQUIRED)
    return required is None or any(_term(term, node) for term in required.get("nodeSelectorTerms", ()))


def _term(term: Row, node: NodeOffer) -> bool:
    labels, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not labels and not fields:
        return False  # as the API has it: a term that says nothing selects nothing
    return all(_holds(row, node.labels) for row in labels) and all(
        _holds(row, {"metadata.name": node.name}) for row in fields
    )


def _holds(row: Row, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(row["key"]), row.get("values") or ()
    match row["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compared(value, values, above=operator == "Gt")
        case _:
            return False


def _compared(value: str | None, values: Sequence[str], *, above: bool) -> bool:
    try:
        have, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if above else have < bound


def untolerated(pod_spec: Object, node: NodeOffer) -> Iterator[Mapping[str, str]]:
    """Yield the taints of the node that keep the pod out."""
    tolerations: Sequence[Row] = pod_spec.get("tolerations") or ()
    for taint in node.taints:
        if taint.get("effect") in _KEEPS_OUT and not any(_tolerates(row, taint) for row in tolerations):
            yield taint


def _tolerates(row: Row, taint: Mapping[str, str]) -> bool:
    if row.get("effect") and row["effect"] != taint.get("effect"):
        return False
    exists = row.get("operator") == "Exists"
    if not row.get("key"):
        return exists
    return row["key"] == taint.get("key") and (exists or (row.get("value") or "") == (taint.get("value") or ""))
