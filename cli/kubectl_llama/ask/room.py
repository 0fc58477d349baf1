"""Can the cluster hold it now, later, or never? Nodes, what runs on them, what preflight found → a verdict. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from llama_operator.plan.observed import NodeOffer
from llama_operator.preflight.finding import amount_of
from llama_operator.preflight.nodes import suitable
from llama_operator.preflight.pod import Pod, amounts, read
from llama_operator.spec.model import Gpu

Object = Mapping[str, Any]
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Room:
    """When there is room, and why so."""

    when: Literal["now", "later", "never", "unknown"]
    why: str


def room(
    pod: Pod,
    gpu: Gpu,
    replicas: int,
    *,
    nodes: Sequence[NodeOffer] | None,
    pods: Sequence[Object] | None,
    on_demand: str | None,
    misfit: str | None,
) -> Room:
    """Return when so many replicas find their place.

    Args:
        pod: what a replica is.
        gpu: the GPUs it asks for.
        replicas: how many.
        nodes: those of the cluster; None where they may not be read.
        pods: those of all namespaces; None where they may not be read.
        on_demand: what adds nodes when pods wait, if anything does.
        misfit: what preflight says where no node would ever do.
    """
    if misfit is not None:
        return Room("later", f"{on_demand} may add a node; until then {misfit}") if on_demand else Room("never", misfit)
    if nodes is None or pods is None:
        return Room("unknown", "nodes and the pods of all namespaces may not be read")
    fit, short = _placed(pod, suitable(pod, gpu, nodes), pods, replicas * gpu.nodes)
    wanted = replicas * gpu.nodes
    if fit >= wanted:
        return Room("now", f"{wanted} of {wanted} {'pods find' if wanted > 1 else 'pod finds'} room as the nodes are")
    until = f"until then {fit} of {wanted} find room{short}"
    if on_demand:
        return Room("later", f"{on_demand} may add a node; {until}")
    return Room("later", f"once others have stopped; {until}")


def _placed(pod: Pod, nodes: Sequence[NodeOffer], pods: Sequence[Object], wanted: int) -> tuple[int, str]:
    """Return how many find room, first come first served, and what the next one lacks."""
    free = {node.name: dict(amounts(node.allocatable)) for node in nodes}
    for other in pods:
        node = other.get("spec", {}).get("nodeName")
        if node in free and (other.get("status") or {}).get("phase") not in _ENDED:
            for name, value in read(other["spec"]).requests.items():
                free[node][name] = free[node].get(name, Decimal(0)) - value
    for placed in range(wanted):
        node = next((node for node, left in free.items() if not _lacks(pod, left)), None)
        if node is None:
            return placed, _short(pod, free)
        for name, value in pod.requests.items():
            free[node][name] = free[node].get(name, Decimal(0)) - value
    return wanted, ""


def _lacks(pod: Pod, left: Mapping[str, Decimal]) -> list[str]:
    return [name for name, value in pod.requests.items() if value > left.get(name, Decimal(0))]


def _short(pod: Pod, free: Mapping[str, Mapping[str, Decimal]]) -> str:
    if not free:
        return ""
    node = min(free, key=lambda node: (len(_lacks(pod, free[node])), node))
    rows: list[str] = []
    for name in _lacks(pod, free[node]):
        left = max(Decimal(0), free[node].get(name, Decimal(0)))
        rows.append(f"{amount_of(name, left)} of {amount_of(name, pod.requests[name])} {name}")
    return f", for {node} has {' and '.join(rows)} left"
