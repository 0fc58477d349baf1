"""Is there a node that could ever take a replica? Judged by what nodes have, not by what is free of it now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from llama_operator.names import TAINT_CORDONED
from llama_operator.plan.gpu import label_values
from llama_operator.plan.observed import NodeOffer
from llama_operator.preflight.finding import Finding, amount_of, counted, failed, passed, unknown
from llama_operator.preflight.placing import selected, untolerated
from llama_operator.preflight.pod import Pod, amounts
from llama_operator.spec.model import ANY_PRODUCT, Gpu

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class _Case:
    pod: Pod
    gpu: Gpu

    @property
    def gpus(self) -> int:
        return int(self.pod.requests.get(self.gpu.resource_name, Decimal(0)))

    def gpus_of(self, node: NodeOffer) -> int:
        return int(amounts(node.allocatable).get(self.gpu.resource_name, Decimal(0)))


@dataclass(frozen=True, slots=True)
class _Step:
    """One demand: whether a node meets it, and what to say when none of those that are left does."""

    holds: Callable[[_Case, NodeOffer], bool]
    says: Callable[[_Case, Sequence[NodeOffer]], Finding]


def suitable(pod: Pod, gpu: Gpu, nodes: Sequence[NodeOffer]) -> tuple[NodeOffer, ...]:
    """Return the nodes that could take the pod if nothing else ran there."""
    case = _Case(pod, gpu)
    return tuple(node for node in nodes if all(step.holds(case, node) for step in _STEPS))


def check(pod: Pod, gpu: Gpu, nodes: Sequence[NodeOffer] | None) -> Finding:
    """Narrow the nodes down, demand by demand; the first that leaves none is what has to change."""
    if nodes is None:
        return unknown("Node", "the operator may not list nodes, so that it is not known whether one is large enough")
    if not nodes:
        return failed("Node", "NoMatchingNode", "the cluster has no node: add one")
    case, left = _Case(pod, gpu), tuple(nodes)
    for step in _STEPS:
        fit = tuple(node for node in left if step.holds(case, node))
        if not fit:
            return step.says(case, left)
        left = fit
    return passed("Node", f"{counted(len(left), 'node')} could take a replica: {_names(left)}")


def _names(nodes: Sequence[NodeOffer]) -> str:
    shown = ", ".join(sorted(node.name for node in nodes)[:_SHOWN])
    return f"{shown} and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else shown


def _offers_gpus(case: _Case, node: NodeOffer) -> bool:
    return not case.gpus or case.gpus_of(node) > 0


def _no_gpus(case: _Case, nodes: Sequence[NodeOffer]) -> Finding:
    return failed(
        "Node",
        "NoGpuNode",
        f"none of {counted(len(nodes), 'node')} offers {case.gpu.resource_name}: add a GPU node or install its device "
        "plugin, or set spec.resources.gpu.count to 0 to run on CPUs",
    )


def _has_product(case: _Case, node: NodeOffer) -> bool:
    product = node.product
    known = not case.gpus or case.gpu.product == ANY_PRODUCT or product is None
    return known or product in label_values(case.gpu.product)


def _no_product(case: _Case, nodes: Sequence[NodeOffer]) -> Finding:
    products = ", ".join(sorted({node.product for node in nodes if node.product}))
    return failed(
        "Node",
        "NoNodeWithProduct",
        f"no node has GPUs of product {case.gpu.product}, the cluster has {products}: set spec.resources.gpu.product "
        "to one of these or to any, or add such a node",
    )


def _has_enough(case: _Case, node: NodeOffer) -> bool:
    return case.gpus_of(node) >= case.gpus


def _too_many(case: _Case, nodes: Sequence[NodeOffer]) -> Finding:
    largest = max(map(case.gpus_of, nodes))
    return failed(
        "Node",
        "TooManyGpus",
        f"a replica wants {case.gpus} {case.gpu.resource_name} on one node, and the largest node has {largest}: lower "
        f"spec.resources.gpu.count to {largest}, or add a node with {case.gpus}",
    )


def _is_selected(case: _Case, node: NodeOffer) -> bool:
    return selected(case.pod.spec, node)


def _not_selected(case: _Case, nodes: Sequence[NodeOffer]) -> Finding:
    selector = case.pod.spec.get("nodeSelector") or {}
    what = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
    of = f"spec.scheduling.nodeSelector ({what})" if what else "the required affinity in spec.scheduling.affinity"
    return failed(
        "Node",
        "NoMatchingNode",
        f"{of} matches none of {counted(len(nodes), 'node')} that would do otherwise ({_names(nodes)}): correct it, "
        "or label a node so",
    )


def _lets_in(case: _Case, node: NodeOffer) -> bool:
    return next(untolerated(case.pod.spec, node), None) is None


def _tainted(case: _Case, nodes: Sequence[NodeOffer]) -> Finding:
    node = min(nodes, key=lambda node: (len(list(untolerated(case.pod.spec, node))), node.name))
    taint = next(untolerated(case.pod.spec, node))
    key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
    written = f"{key}={value}:{effect}" if value else f"{key}:{effect}"
    fix = "tolerate it in spec.scheduling.tolerations, or take it off a node"
    if key == TAINT_CORDONED:
        fix = f"it is cordoned; kubectl uncordon {node.name} lets pods in"
    elif key.startswith("node.kubernetes.io/"):
        fix = "wait until the node has recovered"
    return failed("Node", "NodesTainted", f"node {node.name} would do but has the taint {written}: {fix}")


def _is_large_enough(case: _Case, node: NodeOffer) -> bool:
    has = amounts(node.allocatable)
    return all(value <= has.get(name, Decimal(0)) for name, value in case.pod.requests.items())


def _too_small(case: _Case, nodes: Sequence[NodeOffer]) -> Finding:
    wants = case.pod.requests

    def lacks(node: NodeOffer) -> list[str]:
        has = amounts(node.allocatable)
        return sorted(name for name, value in wants.items() if value > has.get(name, Decimal(0)))

    node = min(nodes, key=lambda node: (len(lacks(node)), node.name))
    has = amounts(node.allocatable)
    rows = [
        f"{amount_of(name, wants[name])} {name}, it has {amount_of(name, has.get(name, Decimal(0)))}"
        for name in lacks(node)
    ]
    return failed(
        "Node",
        "NodeTooSmall",
        f"a replica wants more than any node has for pods; of {node.name} it wants {' and '.join(rows)}: lower "
        "spec.resources, or add a larger node",
    )


_STEPS: Final = (
    _Step(_offers_gpus, _no_gpus),
    _Step(_has_product, _no_product),
    _Step(_has_enough, _too_many),
    _Step(_is_selected, _not_selected),
    _Step(_lets_in, _tainted),
    _Step(_is_large_enough, _too_small),
)
"""In this order: what a person has to change about GPUs comes first."""
