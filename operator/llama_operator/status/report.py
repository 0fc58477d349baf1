"""What was seen and done → the status to write, the events to record, and when to look again. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from llama_operator import names
from llama_operator.errors import ClusterError, PackageError, SpecError
from llama_operator.plan.cost import STEP_SECONDS, count
from llama_operator.plan.observed import Observed, Outcome, Plan, PreflightResult, Report
from llama_operator.plan.revision import is_commit, running
from llama_operator.plan.workload import running_image
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.status import (
    ConditionType,
    LlamaDeploymentStatus,
    ModelRevision,
    Phase,
    PreflightCheck,
    PreflightStatus,
)
from llama_operator.status import rollouts
from llama_operator.status.conditions import judge, settle
from llama_operator.status.facts import Facts, gather
from llama_operator.status.history import records, told
from llama_operator.status.package import ENVIRONMENT
from llama_operator.status.pods import is_active, is_ready, parse_time
from llama_operator.status.problems import of_error
from llama_operator.status.reason import Reason
from llama_operator.status.startup import server_stage
from llama_operator.status.transitions import deeds, events

STARTING_SECONDS: Final = 2.0
MENDING_SECONDS: Final = 3.0
REFUSED_SECONDS: Final = 15.0
CHECKING_SECONDS: Final = 15.0
_SLOWER: Final = 5
"""How much longer the wait for another check gets with time."""
KEYS_SECONDS: Final = 15.0
TOKEN_SECONDS: Final = 60.0
TELLING_SECONDS: Final = 0.5
"""Between a change of the Secret with API keys and telling pods of the version that it has got by it."""
_GOES_ON: Final = frozenset({Reason.DOWNLOAD_INTERRUPTED, Reason.DOWNLOAD_STALLED})
"""Told, and no failure: the download is tried again by itself."""


def report(
    spec: LlamaDeploymentSpec | SpecError | ClusterError,
    seen: Observed,
    plan: Plan | None,
    outcome: Outcome | None,
    preflight: PreflightResult | None = None,
    *,
    stall_seconds: float = 120.0,
    recheck_seconds: float = MENDING_SECONDS,
) -> Report:
    """Return the report on one LlamaDeployment.

    Args:
        spec: the typed spec, or why there is none, or what the operator may not read; then what runs is left alone
            and so are its conditions.
        seen: what the plan was made from; `seen.body["status"]` is the previous status.
        plan: what was to be done; None if none could be made.
        outcome: what became of it; None if nothing was tried.
        preflight: the result that the plan was made with.
        stall_seconds: how long a download may bring no byte before it counts as stalled.
        recheck_seconds: how soon to check again what preflight holds, should no watch tell of a change.
    """
    previous = _previous(seen)
    if isinstance(spec, SpecError):
        again = MENDING_SECONDS if isinstance(spec, PackageError) else None
        status = _unreadable(spec, seen, _counted(previous, seen))
    elif isinstance(spec, ClusterError):
        status, again = _unreadable(spec, seen, previous), REFUSED_SECONDS
    else:
        facts = gather(
            spec, seen, previous, plan=plan, outcome=outcome, preflight=preflight, stall_seconds=stall_seconds
        )
        status = _status(facts)
        counting = STEP_SECONDS if status.cost and status.cost.holders else None
        again = _sooner(_look_again(facts, recheck_seconds), counting, _secrets_again(facts, outcome))
    return Report(
        status=status.model_dump(mode="json", by_alias=True, exclude_none=True),
        events=(
            *deeds(outcome),
            *told(previous.history, status.history),
            *events(previous.conditions, status.conditions),
        ),
        requeue_after=again,
    )


def _previous(seen: Observed) -> LlamaDeploymentStatus:
    try:
        return LlamaDeploymentStatus.model_validate(seen.body.get("status") or {})
    except ValidationError:
        # Written by another version; it is replaced as a whole, and only transition times are lost.
        return LlamaDeploymentStatus()


def _status(facts: Facts) -> LlamaDeploymentStatus:
    spec, seen = facts.spec, facts.seen
    return LlamaDeploymentStatus(
        observed_generation=seen.body["metadata"].get("generation", 0),
        phase=_phase(facts),
        ready=f"{min(facts.ready, spec.replicas)}/{spec.replicas}",
        replicas=len(facts.pods),
        ready_replicas=facts.ready,
        selector=",".join(f"{key}={value}" for key, value in sorted(names.pod_selector(seen.key.name).items())),
        url=_url(spec, seen),
        engine_image=running_image(facts.deployment) if facts.deployment else None,
        revision=_revision(facts),
        preflight=_preflight(facts),
        startup=facts.startup,
        history=records(facts.rollout),
        cost=count(facts.previous.cost, spec.cost, seen),
        conditions=judge(facts),
    )


def _unreadable(
    error: SpecError | ClusterError, seen: Observed, previous: LlamaDeploymentStatus
) -> LlamaDeploymentStatus:
    problem = of_error(error)
    generation = seen.body["metadata"].get("generation", 0)
    old = {row.type: row for row in previous.conditions}
    answers: dict[ConditionType, bool] = {"Accepted": False, "Degraded": True}
    for kind, holds in answers.items():
        answer = (holds, problem.reason, problem.message)
        old[kind] = settle(previous.conditions, kind, answer, generation, seen.now)
    return previous.model_copy(
        update={
            "observed_generation": generation,
            "phase": "Degraded" if previous.ready_replicas else "Failed",
            "conditions": tuple(old.values()),
        }
    )


def _counted(previous: LlamaDeploymentStatus, seen: Observed) -> LlamaDeploymentStatus:
    pods = [pod for pod in seen.pods if is_active(pod)]
    return previous.model_copy(update={"replicas": len(pods), "ready_replicas": sum(map(is_ready, pods))})


def _phase(facts: Facts) -> Phase:
    if not facts.spec.replicas:
        return "Asleep" if facts.asleep else "Stopped"
    if facts.ready:
        if facts.problems:
            return "Degraded"
        return "Ready" if facts.settled and facts.seen.routed else "Progressing"
    if facts.problem is not None and facts.problem.reason not in _GOES_ON:
        waits = facts.problem.condition in ("PreflightPassed", "PodsScheduled")
        return "Pending" if waits or facts.problem.reason is Reason.LEFTOVER else "Failed"
    stage = server_stage(facts.startup)
    if stage in ("Resolve", "Download") or (facts.startup is not None and facts.startup.stage == ENVIRONMENT):
        return "Downloading"
    return "Loading" if stage in ("Load", "WarmUp", "Golden") else "Pending"


def _url(spec: LlamaDeploymentSpec, seen: Observed) -> str:
    port = "" if spec.service.port == 80 else f":{spec.service.port}"
    return f"http://{seen.key.name}.{seen.key.namespace}.svc{port}/predict"


def _revision(facts: Facts) -> ModelRevision:
    if facts.rollout.keep is not None and facts.deployment is not None:
        return rollouts.revision_kept(facts.rollout.keep)
    model, before, result = facts.spec.model, facts.previous.revision, facts.preflight
    if before is None or (before.repo, before.requested) != (model.repo, model.revision):
        before = ModelRevision(repo=model.repo, requested=model.revision)
    pinned = running(facts.deployment, model) if facts.deployment is not None else None
    commit = pinned if is_commit(pinned) else _reported(facts, pinned or model.revision) or before.commit
    if result is None:
        return before.model_copy(update={"commit": commit})
    commit = commit or result.commit
    return before.model_copy(update={"commit": commit, "licence": result.licence or before.licence})


def _reported(facts: Facts, revision: str) -> str | None:
    """Return the commit that pods have resolved a branch to."""
    reports: Mapping[str, Mapping[str, Any]] = facts.seen.startup
    for row in reports.values():
        # A pod from before the last change of the spec reports another model.
        if row.get("commit") and (row.get("model"), row.get("revision")) == (facts.spec.model.repo, revision):
            return row["commit"]
    return None


def _preflight(facts: Facts) -> PreflightStatus | None:
    if facts.preflight is None:
        return facts.previous.preflight
    before = facts.previous.preflight or PreflightStatus()
    found = {
        row.check: PreflightCheck(name=row.check, state=row.state, message=row.message)
        for row in facts.preflight.findings
    }
    known = {row.name: row for row in before.checks} if facts.preflight.partial else {}
    checks = tuple({**known, **found}.values())
    version = before.token_version
    if "Model" in found and found["Model"].state == "passed" and facts.seen.secret is not None:
        version = facts.seen.secret.resource_version
    return PreflightStatus(checks=checks, token_version=version) if checks else None


def _look_again(facts: Facts, recheck_seconds: float) -> float | None:
    """Return in how many seconds to look again: progress and start-up errors send no event of their own."""
    if facts.waits_for_preflight and not facts.problem_of("Accepted"):
        return _checking_seconds(facts, recheck_seconds)
    others = [row for row in facts.problems if row.reason is not Reason.ROLLED_BACK]
    if facts.settled and not others and facts.seen.routed:
        return None
    if facts.spec.rollout.paused and facts.ready and not facts.problems and not facts.waits_for_preflight:
        return None  # whoever lets it go on edits the spec
    if not facts.spec.replicas and not facts.pods and not facts.problems:
        return None
    serving = facts.settled and facts.seen.routed and facts.problem is None
    if facts.problem_of("Accepted") or serving:  # each look tries to apply again what was refused, or has no kind yet
        return REFUSED_SECONDS
    return MENDING_SECONDS if facts.problems else STARTING_SECONDS


def _secrets_again(facts: Facts, outcome: Outcome | None) -> float | None:
    """Return when to look at Secrets again: nothing tells of them, unless one is bad and waited for."""
    if facts.spec.auth.api_key_secret_selector is not None:
        changed = any(ref.kind == "Secret" for ref in outcome.applied) if outcome is not None else False
        return TELLING_SECONDS if changed else KEYS_SECONDS
    if facts.seen.secret is None or not facts.seen.secret.exists or facts.spec.preflight.mode == "off":
        return None
    failed = facts.preflight is not None and facts.preflight.partial and not facts.preflight.passed
    return CHECKING_SECONDS if failed else TOKEN_SECONDS


def _sooner(*each: float | None) -> float | None:
    return min((seconds for seconds in each if seconds is not None), default=None)


def _checking_seconds(facts: Facts, least: float) -> float:
    """Return when to check again what holds: soon at first, for somebody is mending it; later less often.

    Most of what can be mended is watched meanwhile (`cluster.vigil`). This is for the rest: what the Hub says, rights
    that are missing, and a watch that is refused or away.
    """
    if facts.preflight is not None and facts.preflight.reason == Reason.CHECKING:
        return MENDING_SECONDS
    before = next((row for row in facts.previous.conditions if row.type == "PreflightPassed"), None)
    if before is None or before.status == "True":
        return least
    for_seconds = (facts.seen.now - parse_time(before.last_transition_time)).total_seconds()
    return min(_SLOWER * least, max(least, for_seconds / 60))
