"""The same as `rollouts.World` where a replica takes several nodes: a LeaderWorkerSet, its leaders and its workers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llama_operator import names
from llama_operator.plan.groups import as_groups, as_seen
from llama_operator.plan.observed import Object, Observed, Plan, PreflightResult
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.wanted import wanted_refs
from llama_operator.spec.parse import parse
from tests.support.operator_objects import KEY, SETTINGS, a_pod, plan, ready
from tests.support.rollouts import World


class GroupWorld(World):
    """Objects as they are once applied; nothing happens to pods but what a test says."""

    workload = wanted_refs(KEY).group

    def __init__(self, **spec: Any) -> None:
        super().__init__(resources={"gpu": {"count": 8, "nodes": 2}}, **spec)

    def seen(self) -> Observed:
        """What one pass over the cluster finds."""
        return replace(super().seen(), kinds=frozenset({"LeaderWorkerSet"}), replica_sets=())

    def shown(self) -> Observed:
        """The leaders as the pods, the LeaderWorkerSet as a Deployment."""
        there = self.seen()
        return as_seen(parse(there.body), there)

    def planned(self, settings: PlanSettings = SETTINGS, preflight: PreflightResult | None = None) -> Plan:
        """The plan with its LeaderWorkerSet."""
        there = self.seen()
        spec = parse(there.body)
        return as_groups(spec, there, plan(as_seen(spec, there), settings=settings, preflight=preflight))

    def status(self, **fields: Any) -> None:
        """Let the controller say this."""
        self.children[self.workload]["status"] = fields

    def complete(self) -> None:
        """Let all groups be of the present template, and ready."""
        wanted = self.children[self.workload]["spec"]["replicas"]
        self.status(**dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), wanted))
        self.pods = tuple(self.member(ready(a_pod(f"pod-{n}")), 0) for n in range(wanted))
        self.startup = {}

    def member(self, pod: Object, index: int) -> dict[str, Any]:
        """The pod as a leader, of index 0, or a worker of the present template."""
        metadata = pod["metadata"]
        digest = self.children[self.workload]["metadata"]["annotations"][names.ANNOTATION_TEMPLATE]
        labels = {**metadata["labels"], names.LABEL_WORKER_INDEX: str(index)}
        return {
            **pod,
            "metadata": {**metadata, "labels": labels, "annotations": {names.ANNOTATION_TEMPLATE: digest}},
        }

    def starting(self, number: int, *, report: Object | None = None, state: Mapping[str, Any] | None = None) -> None:
        """Let the leader of the present template, whose rollout is `number`, be on its way."""
        super().starting(number, report=report, state=state)
        self.pods = tuple(self.member(pod, 0) for pod in self.pods)
        self.status(replicas=1, updatedReplicas=1, readyReplicas=0)
