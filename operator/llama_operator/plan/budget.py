"""The PodDisruptionBudget: what drains of nodes must leave standing."""

from collections.abc import Iterator
from typing import Any, Final

from llama_operator import names
from llama_operator.plan.objects import metadata
from llama_operator.plan.observed import Key, Object, Ref
from llama_operator.plan.quantity import count
from llama_operator.spec.model import LlamaDeploymentSpec

API_VERSION: Final = "policy/v1"
KIND: Final = "PodDisruptionBudget"


def ref(key: Key) -> Ref:
    """Return the budget of a LlamaDeployment."""
    return Ref(API_VERSION, KIND, key.name)


def parts(spec: LlamaDeploymentSpec, key: Key, owner: Object) -> Iterator[dict[str, Any]]:
    """Yield the budget, if the spec has one."""
    wanted = spec.disruption_budget
    if wanted is None:
        return
    limits = {"minAvailable": wanted.min_available, "maxUnavailable": wanted.max_unavailable}
    yield {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata(key, key.name, owner=owner),
        "spec": {
            "selector": {"matchLabels": names.pod_selector(key.name)},
            **{name: count(value) for name, value in limits.items() if value is not None},
            # A pod that does not answer is nothing to keep: it may be in the way of a node that has to go.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
