"""What the conditions are judged by: the live pods and Deployment, and everything that is wrong, worst first."""

from collections.abc import Iterator
from dataclasses import dataclass

from llama_operator import names
from llama_operator.plan import sleep
from llama_operator.plan.activity import Pods
from llama_operator.plan.history import Rollout
from llama_operator.plan.observed import Object, Observed, Outcome, Plan, PreflightResult, ref_of
from llama_operator.plan.source import is_shared
from llama_operator.plan.wanted import is_ours, wanted_refs
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.status import ConditionType, LlamaDeploymentStatus, Startup
from llama_operator.status import containers, model, placement, problems
from llama_operator.status.package import package_timeline
from llama_operator.status.pods import condition_of, is_active, is_ready
from llama_operator.status.problems import Problem
from llama_operator.status.progress import gets_on
from llama_operator.status.reason import Reason
from llama_operator.status.startup import timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One look at a LlamaDeployment whose spec can be read."""

    spec: LlamaDeploymentSpec
    seen: Observed
    previous: LlamaDeploymentStatus
    deployment: Object | None
    settled: bool
    pods: tuple[Object, ...]
    startup: Startup | None
    problems: tuple[Problem, ...]
    cache: str | None
    changed: tuple[str, ...]
    waits_for_cache: bool
    preflight: PreflightResult | None
    rollout: Rollout
    asleep: bool

    @property
    def generation(self) -> int:
        """The generation of the spec."""
        return self.seen.body["metadata"].get("generation", 0)

    @property
    def ready(self) -> int:
        """Pods that answer."""
        return sum(map(is_ready, self.pods))

    @property
    def problem(self) -> Problem | None:
        """The first thing to mend that keeps the model from being served as asked."""
        return next((row for row in self.problems if row.condition != "Degraded"), None)

    def problem_of(self, condition: ConditionType) -> Problem | None:
        """The first thing that spoils one condition."""
        return next((row for row in self.problems if row.condition == condition), None)

    @property
    def held(self) -> bool:
        """Whether no pods are created for now."""
        return (
            self.waits_for_preflight or self.waits_for_cache or self.problem_of("Accepted") is not None
        ) and not self.pods

    @property
    def waits_for_preflight(self) -> bool:
        """Whether something new is to be claimed, and may not be for now."""
        return self.preflight is not None and self.preflight.holds


def gather(
    spec: LlamaDeploymentSpec,
    seen: Observed,
    previous: LlamaDeploymentStatus,
    *,
    plan: Plan | None,
    outcome: Outcome | None,
    preflight: PreflightResult | None,
    stall_seconds: float,
) -> Facts:
    """Judge everything that was seen and done."""
    deployment = seen.children.get(wanted_refs(seen.key).workload)
    if deployment is not None and not is_ours(deployment, seen):
        deployment = None
    pods = tuple(pod for pod in seen.pods if is_active(pod))
    workers = tuple(pod for pod in seen.workers if is_active(pod))
    ready = sum(map(is_ready, pods))
    applied = plan is not None and wanted_refs(seen.key).workload in map(ref_of, plan.apply)
    rolled_out = deployment is not None and _is_rolled_out(deployment, spec.replicas)
    waits = plan is not None and plan.waits
    fetching = tuple(pod for pod in seen.downloads if is_active(pod) and _fills(pod, plan)) if waits else None
    found = (
        *problems.of_objects(seen, plan, outcome),
        *problems.of_gateway(spec, seen),
        *problems.of_preflight(preflight),
        *(problems.of_rollout(spec, plan.rollout, waits=waits) if plan is not None else ()),
        *placement.of_deployment(spec, deployment),
        *(placement.of_job(spec, seen, plan.filler) if plan is not None and fetching == () else ()),
        *(
            problem
            for pod in (*(fetching or ()), *pods, *workers)
            if not is_ready(pod)
            for problem in _of_pod(spec, seen, pod, stall_seconds)
        ),
        *(containers.of_ended_pods((*seen.pods, *seen.workers)) if ready < spec.replicas else ()),
        *_of_deadline(deployment, spec, seen),
        *problems.of_kinds(plan),
        *(problems.of_keys(spec, seen, plan) if plan is not None else ()),
    )
    return Facts(
        spec=spec,
        seen=seen,
        previous=previous,
        deployment=deployment,
        # The Deployment counts later than the pods change.
        settled=rolled_out
        and not applied
        and not waits
        and ready == spec.replicas
        and not (preflight and preflight.holds),
        pods=pods,
        startup=_timeline(spec, seen, previous, preflight, waits=waits, fetching=fetching),
        problems=found,
        cache=plan.cache if plan is not None else None,
        changed=plan.changed if plan is not None else (),
        waits_for_cache=waits,
        preflight=preflight,
        rollout=plan.rollout if plan is not None else Rollout(),
        asleep=sleep.state(spec, seen) is Pods.ASLEEP,
    )


def _timeline(
    spec: LlamaDeploymentSpec,
    seen: Observed,
    previous: LlamaDeploymentStatus,
    preflight: PreflightResult | None,
    *,
    waits: bool,
    fetching: tuple[Object, ...] | None,
) -> Startup | None:
    wanted = spec.replicas > 0 or waits
    if spec.package is not None:
        return package_timeline(seen, previous, preflight, wanted=wanted, making=fetching)
    fetched = is_shared(spec) and not waits
    return timeline(seen, previous, preflight, wanted=wanted, fetching=fetching, fetched=fetched)


def _of_pod(spec: LlamaDeploymentSpec, seen: Observed, pod: Object, stall_seconds: float) -> Iterator[Problem]:
    yield from placement.of_pod(spec, seen, pod)
    yield from containers.of_pod(spec, seen, pod)
    yield from model.of_report(spec, seen, seen.startup.get(pod["metadata"]["name"], {}), stall_seconds)


def _fills(pod: Object, plan: Plan | None) -> bool:
    """Whether a pod is that of the Job which fills the plan's cache."""
    return plan is not None and pod["metadata"]["labels"].get(names.LABEL_JOB) == plan.filler


def _of_deadline(deployment: Object | None, spec: LlamaDeploymentSpec, seen: Observed) -> Iterator[Problem]:
    progressing = condition_of(deployment, "Progressing") if deployment else None
    seconds = spec.rollout.progress_deadline_seconds
    late = progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded"
    if late and not gets_on(seen, (*seen.pods, *seen.workers), seconds):
        yield Problem(
            Reason.DEADLINE_EXCEEDED,
            f"the rollout has made no progress for {seconds} seconds: mend what the "
            "other conditions name, or raise spec.rollout.progressDeadlineSeconds",
        )


def _is_rolled_out(deployment: Object, replicas: int) -> bool:
    status = deployment.get("status", {})
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    return current and counts == {replicas}
