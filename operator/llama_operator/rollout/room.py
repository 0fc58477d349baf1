"""Are the GPUs of one more pod free when a rollout begins? By the nodes, the pods on them, and the quotas."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from llama_operator import names
from llama_operator.plan import revisions
from llama_operator.plan.observed import Object, Observed, Plan
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.strategy import is_open
from llama_operator.plan.survey import Room
from llama_operator.plan.wanted import wanted_refs
from llama_operator.preflight.nodes import suitable
from llama_operator.preflight.pod import Pod, amounts, read
from llama_operator.spec.model import LlamaDeploymentSpec

_ENDED = frozenset({"Succeeded", "Failed"})


def is_asked(spec: LlamaDeploymentSpec, seen: Observed, plan: Plan, settings: PlanSettings) -> bool:
    """Whether a rollout begins with this plan whose surge the GPUs decide: not where nodes come by themselves."""
    live = seen.children.get(wanted_refs(seen.key).workload)
    wanted = _workload(plan)
    if live is None or wanted is None or not spec.replicas or not spec.resources.gpu.count:
        return False
    begins = revisions.template_of(live) != revisions.template_of(wanted) and plan.rollout.why != "RolledBack"
    return begins and is_open(spec.rollout) and not settings.nodes_on_demand


def has_room(spec: LlamaDeploymentSpec, plan: Plan, room: Room) -> bool | None:
    """Return whether one pod more finds its GPUs; None if that cannot be seen, or no pods are to change.

    None as well where no node would do whatever went: an old pod would stop in vain, and what serves with it.
    """
    if room.nodes is None or room.pods is None:
        return None
    wanted = _workload(plan)
    if wanted is None:
        return None
    pod, gpu = read(wanted["spec"]["template"]["spec"]), spec.resources.gpu
    needs = pod.requests.get(gpu.resource_name, Decimal(0))
    nodes = suitable(pod, gpu, room.nodes)
    if not nodes:
        return None
    taken = _taken(room.pods, gpu.resource_name)
    free = (
        amounts(node.allocatable).get(gpu.resource_name, Decimal(0)) - taken.get(node.name, Decimal(0))
        for node in nodes
    )
    return any(count >= needs for count in free) and _admitted(pod, gpu.resource_name, room.quotas or ())


def _workload(plan: Plan) -> Object | None:
    """Return the Deployment of the pods that serve, if it is applied; a gateway's has no GPU to find."""
    found = (obj for obj in plan.apply if obj["kind"] == "Deployment")
    return next((obj for obj in found if names.ANNOTATION_TEMPLATE in obj["metadata"].get("annotations", {})), None)


def _taken(pods: Sequence[Object], resource: str) -> Mapping[str, Decimal]:
    taken: dict[str, Decimal] = {}
    for pod in pods:
        node = pod.get("spec", {}).get("nodeName")
        if node and pod.get("status", {}).get("phase") not in _ENDED:
            taken[node] = taken.get(node, Decimal(0)) + read(pod["spec"]).requests.get(resource, Decimal(0))
    return taken


def _admitted(pod: Pod, resource: str, quotas: Sequence[Object]) -> bool:
    return all(pod.requests.get(resource, Decimal(0)) <= left for left in _left(quotas, f"requests.{resource}"))


def _left(quotas: Sequence[Object], name: str) -> Iterator[Decimal]:
    for quota in quotas:
        hard = amounts(quota["spec"].get("hard") or {})
        if name in hard:
            yield hard[name] - amounts(quota.get("status", {}).get("used") or {}).get(name, Decimal(0))
