"""A LlamaDeployment whose plans are carried out in memory, with as much of a Deployment's controller as tests steer."""

import copy
from collections.abc import Mapping
from typing import Any

from llama_operator import names
from llama_operator.plan.observed import Object, Observed, Plan, PreflightResult, Ref, ref_of
from llama_operator.plan.settings import PlanSettings
from tests.support.operator_objects import (
    KEY,
    SETTINGS,
    a_body,
    a_pod,
    answers,
    observed,
    placed,
    plan,
    ready,
    report_on,
    running,
)

DEPLOYMENT = Ref("apps/v1", "Deployment", KEY.name)


class World:
    """Objects as they are once applied; nothing happens to pods but what a test says."""

    workload = DEPLOYMENT

    def __init__(self, **spec: Any) -> None:
        self.body = a_body(**spec)
        self.children: dict[Ref, dict[str, Any]] = {}
        self.pods: tuple[Object, ...] = ()
        self.startup: dict[str, Object] = {}
        self.minutes = 0.0

    def edit(self, **spec: Any) -> None:
        """Replace fields of the spec."""
        self.body = {**self.body, "spec": {**self.body["spec"], **spec}}

    def seen(self) -> Observed:
        """What one pass over the cluster finds."""
        sets = tuple(
            {"metadata": {"uid": f"set-{number}", "annotations": {names.ANNOTATION_REVISION: number}}}
            for number in self._numbers()
        )
        found = observed(
            *self.pods,
            body=self.body,
            children=self.children.values(),
            startup=self.startup,
            minutes=self.minutes,
            replica_sets=sets,
        )
        self.minutes += 1
        return found

    def _numbers(self) -> set[str]:
        return {str(obj["revision"]) for ref, obj in self.children.items() if ref.kind == "ControllerRevision"}

    def shown(self) -> Observed:
        """The same, as it is shown to what decides."""
        return self.seen()

    def planned(self, settings: PlanSettings = SETTINGS, preflight: PreflightResult | None = None) -> Plan:
        """The plan as it is carried out."""
        return plan(self.seen(), settings=settings, preflight=preflight)

    def step(self, *, settings: PlanSettings = SETTINGS, preflight: PreflightResult | None = None) -> Plan:
        """Make a plan and carry it out."""
        found = self.planned(settings, preflight)
        for obj in found.apply:
            self.carry_out(obj)
        for ref in found.prune:
            del self.children[ref]
        return found

    def carry_out(self, obj: Object) -> None:
        """Apply one object, as the API server would."""
        ref, new = ref_of(obj), copy.deepcopy(dict(obj))
        live = self.children.get(ref, {"metadata": {"generation": 0}})
        same = live.get("spec") == new.get("spec")
        new["metadata"]["generation"] = live["metadata"]["generation"] + (0 if same else 1)
        self.children[ref] = {**new, **({"status": live["status"]} if "status" in live else {})}

    def status(self, **fields: Any) -> None:
        """Let the Deployment's controller have seen the present spec, and say this of it."""
        live = self.children[self.workload]
        live["status"] = {"observedGeneration": live["metadata"]["generation"], **fields}

    def complete(self) -> None:
        """Let all pods be of the present template, and ready."""
        wanted = self.children[self.workload]["spec"]["replicas"]
        self.status(**dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), wanted))
        self.pods, self.startup = tuple(ready(a_pod(f"pod-{number}")) for number in range(wanted)), {}

    def settle(self) -> None:
        """Roll the present spec out."""
        self.step()
        self.complete()
        self.step()

    def starting(self, number: int, *, report: Object | None = None, state: Mapping[str, Any] | None = None) -> None:
        """Let a pod of the rollout `number` be on its way, with this report or container status."""
        pod = placed(a_pod("new"), *((state or {}).get(part) for part in ("state", "lastState")))
        pod = pod if state else running(pod)
        pod["status"]["phase"] = "Running"
        pod["status"]["containerStatuses"][0]["restartCount"] = (state or {}).get("restartCount", 0)
        pod["metadata"]["ownerReferences"] = [{"uid": f"set-{number}"}]
        self.pods, self.startup = (pod,), {"new": report} if report else {}
        self.status(replicas=2, updatedReplicas=1, availableReplicas=1)

    @property
    def running(self) -> int:
        """The number of the rollout whose template the Deployment has."""
        return int(self.children[self.workload]["metadata"]["annotations"][names.ANNOTATION_REVISION])

    @property
    def dtype(self) -> str:
        """A field of the template."""
        env = self.children[self.workload]["spec"]["template"]["spec"]["containers"][0]["env"]
        return next(row["value"] for row in env if row["name"] == names.Env.DTYPE)

    def outcomes(self) -> dict[int, str]:
        """What became of each rollout, by its number."""
        return {row["revision"]: row["outcome"] for row in reversed(self.report()["history"])}

    def report(self) -> Any:
        """The status."""
        return report_on(self.shown()).status

    def answers(self) -> dict[str, str]:
        """The conditions."""
        return answers(report_on(self.shown()))
