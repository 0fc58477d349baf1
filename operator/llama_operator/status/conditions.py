"""The eight conditions: each is one question, answered from the facts by one function."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from llama_operator.plan import package
from llama_operator.plan.observed import PreflightResult
from llama_operator.plan.sharing import claim_ref
from llama_operator.plan.source import is_shared
from llama_operator.spec.status import Condition, ConditionType, Stage, Truth
from llama_operator.status import rollouts
from llama_operator.status.facts import Facts
from llama_operator.status.package import ENVIRONMENT
from llama_operator.status.pods import is_unscheduled, written
from llama_operator.status.problems import Problem, size
from llama_operator.status.reason import Reason
from llama_operator.status.reasons import REASONS
from llama_operator.status.startup import has_done, server_stage

Answer = tuple[bool, Reason, str]
"""Whether it holds, why, and the sentence."""

_STOPPED: Final[Answer] = (
    False,
    Reason.STOPPED,
    "spec.replicas is 0: set it to 1 or more to serve; the cache is kept",
)


def _no(problem: Problem) -> Answer:
    return False, problem.reason, problem.message


def _stopped(facts: Facts) -> Answer:
    """Say why there are to be no pods."""
    if not facts.asleep:
        return _STOPPED
    seconds = facts.spec.scaling.idle_seconds
    return (
        False,
        Reason.ASLEEP,
        f"nobody has asked for {seconds} seconds: a predict request wakes it; the cache is kept",
    )


def _waiting(facts: Facts) -> Answer:
    """Say what has to come first."""
    if facts.problem is not None:
        words = f"waits until {facts.problem.condition} is mended: its message says how"
    elif facts.waits_for_preflight:
        words = "waits until the checks of PreflightPassed are made"
    elif facts.waits_for_cache and facts.spec.package is not None:
        words = "waits until the environment of the package is made; no pod is made and no GPU claimed before"
    elif facts.waits_for_cache:
        words = "waits until the model is in the shared cache; no pod is made and no GPU claimed before"
    elif facts.spec.rollout.paused and facts.ready:
        words = "waits until spec.rollout.paused is false"
    elif any(map(is_unscheduled, facts.pods)) or not facts.pods:
        words = "waits until a pod has its node"
    else:
        words = "waits until the server in the pod has started"
    return False, Reason.WAITING, words


def _accepted(facts: Facts) -> Answer:
    if problem := facts.problem_of("Accepted"):
        return _no(problem)
    words = "the spec can be served as written"
    if facts.changed:
        words = f"{words}, but for what a webhook of the cluster has changed: {', '.join(facts.changed)}"
    return True, Reason.SPEC_VALID, words


def _preflight(facts: Facts) -> Answer:
    result = facts.preflight
    if result is not None:
        return result.passed, Reason(result.reason), result.message
    before = next((row for row in facts.previous.conditions if row.type == "PreflightPassed"), None)
    # Nothing new is claimed, so nothing was checked: what was found before holds, for the spec that it was found for.
    known = before is not None and before.reason in REASONS
    if before is not None and known and (before.status == "True" or before.observed_generation == facts.generation):
        return before.status == "True", Reason(before.reason), before.message
    return True, Reason.CHECKS_PASSED, PreflightResult().message


def _scheduled(facts: Facts) -> Answer:
    if problem := facts.problem_of("PodsScheduled"):
        return _no(problem)
    if not facts.spec.replicas:
        return _stopped(facts)
    if facts.held:
        return _waiting(facts)
    placed = sum(not is_unscheduled(pod) for pod in facts.pods)
    if placed < facts.spec.replicas or placed < len(facts.pods):
        return False, Reason.WAITING, f"{placed} of {max(facts.spec.replicas, len(facts.pods))} pods have a node"
    return True, Reason.ALL_SCHEDULED, "each pod has its node"


def _cached(facts: Facts) -> Answer:
    model = facts.spec.model
    if problem := facts.problem_of("ModelCached"):
        return _no(problem)
    if (served := package.of(facts.spec)) is not None:
        return _installed(facts, served)
    if model.claim is not None or model.image is not None:
        where = f"image {model.image.reference}" if model.image else ""
        where = f"PersistentVolumeClaim {model.claim.name}" if model.claim else where
        return True, Reason.CACHED, f"{model.repo} is read from {where}"
    repo, revision = _model(facts)
    if not facts.waits_for_cache and _is_there(facts):
        return True, Reason.CACHED, f"{repo} at {revision} is in PersistentVolumeClaim {facts.cache}"
    if server_stage(facts.startup) in ("Resolve", "Download"):
        what = f"{repo} at {revision}" if rollouts.brings_another_model(facts) else repo
        return False, Reason.DOWNLOADING, f"{what} is being fetched{_share(facts)}{rollouts.meanwhile(facts)}"
    holds, reason, words = _waiting(facts) if facts.spec.replicas else _stopped(facts)
    return holds, reason, f"{words}{rollouts.meanwhile(facts)}"


def _installed(facts: Facts, served: package.Resolved) -> Answer:
    """Say whether the environment of a package is there."""
    if served.environment_key is None:
        return True, Reason.INSTALLED, f"{served.title} is in image {served.image}"
    if not facts.waits_for_cache and not facts.waits_for_preflight:
        where = f"PersistentVolumeClaim {facts.cache}" if facts.cache else "the volume of earlier"
        return True, Reason.INSTALLED, f"the environment of {served.title} is in {where}"
    if facts.startup is not None and facts.startup.stage == ENVIRONMENT:
        done = next((row.bytes_done for row in facts.startup.stages if row.name == ENVIRONMENT), None)
        so_far = f", {size(done)} so far" if done else ""
        return False, Reason.INSTALLING, f"the environment of {served.title} is being made{so_far}"
    return _waiting(facts) if facts.spec.replicas else _stopped(facts)


def _is_there(facts: Facts) -> bool:
    """Whether the cache holds the model that the pods are to load, which is not what old ones have loaded."""
    if is_shared(facts.spec) and facts.cache is not None:
        return True  # a Job has filled it before there is a pod of it
    if _lacks_bytes(facts):
        return False
    if rollouts.brings_another_model(facts):
        return rollouts.has_loaded(facts)
    return bool(facts.ready) or has_done(facts.startup, "Download") or _was_cached(facts)


def _lacks_bytes(facts: Facts) -> bool:
    """Whether a server says how much of the model it still has to fetch."""
    row = _download(facts)
    if row is None or row.state not in ("running", "failed"):
        return False
    return (row.bytes_done or 0) < (row.bytes_total or 0)


def _model(facts: Facts) -> tuple[str, str]:
    """Return repository and revision that the pods are to load: where they go back, maybe others than the spec's."""
    model, keep = facts.spec.model, facts.rollout.keep
    if keep is None:
        return model.repo, model.revision
    kept = rollouts.revision_kept(keep)
    return kept.repo, kept.requested


def _was_cached(facts: Facts) -> bool:
    """Whether the same model was in the same volume, and no pod is fetching it anew."""
    before, model, startup = facts.previous.revision, facts.spec.model, facts.startup
    same = before is not None and (before.repo, before.requested) == (model.repo, model.revision)
    held = any(row.type == "ModelCached" and row.status == "True" for row in facts.previous.conditions)
    fetching = startup is not None and startup.stage == "Download"
    there = facts.cache is not None and claim_ref(facts.cache) in facts.seen.children
    return same and held and not fetching and there


def _download(facts: Facts) -> Stage | None:
    stages = facts.startup.stages if facts.startup else ()
    return next((row for row in stages if row.name == "Download"), None)


def _share(facts: Facts) -> str:
    stage = _download(facts)
    if stage is None or not stage.bytes_total or stage.bytes_done is None:
        return ""
    return f": {100 * stage.bytes_done // stage.bytes_total}% of {size(stage.bytes_total)}"


def _loaded(facts: Facts) -> Answer:
    if facts.ready:
        return True, Reason.LOADED, f"{facts.ready} of {facts.spec.replicas} pods have the model in memory"
    if problem := facts.problem_of("ModelLoaded"):
        return _no(problem)
    if not facts.spec.replicas:
        return _stopped(facts)
    stage = server_stage(facts.startup)
    if stage in ("Load", "WarmUp", "Golden"):
        what = "the weights are being loaded" if facts.spec.package is None else "the package is being loaded"
        words = "the golden prompts are being answered" if stage == "Golden" else what
        return False, Reason.LOADING, words
    return _waiting(facts)


def _available(facts: Facts) -> Answer:
    cut_off = facts.problem_of("Available")
    if facts.ready and facts.seen.routed and cut_off is None:
        return True, Reason.SERVING, "predict requests are answered at status.url"
    if not facts.spec.replicas and cut_off is None:
        return _stopped(facts)
    if facts.problem is not None:
        return _no(cut_off or facts.problem)
    if facts.held:
        return _waiting(facts)
    if facts.ready:
        return (
            False,
            Reason.STARTING,
            f"a pod is ready, and the nodes do not route Service {facts.seen.key.name} to it yet",
        )
    which = "new" if rollouts.is_replacing(facts) else "first"
    return False, Reason.STARTING, f"the {which} pods are on their way: status.startup shows how far"


def _progressing(facts: Facts) -> Answer:
    if problem := facts.problem_of("Progressing"):
        return _no(problem)
    if not facts.spec.replicas and not facts.pods:
        return _stopped(facts)
    if facts.settled:
        return False, Reason.SETTLED, f"all pods run {rollouts.what_runs(facts)} and are ready"
    if facts.held or facts.waits_for_preflight:
        return _waiting(facts)
    return _under_way(facts)


def _under_way(facts: Facts) -> Answer:
    if facts.spec.rollout.paused:
        return False, Reason.PAUSED, rollouts.paused(facts)
    if not facts.ready and not rollouts.is_replacing(facts):
        return True, Reason.STARTING, "the first pods are on their way: status.startup shows how far"
    return True, Reason.ROLLING_OUT, rollouts.progress(facts)


def _degraded(facts: Facts) -> Answer:
    if problem := facts.problem or next(iter(facts.problems), None):
        return True, problem.reason, problem.message
    return False, Reason.ALL_WELL, "nothing is wrong"


_ANSWERS: Final[Mapping[ConditionType, Callable[[Facts], Answer]]] = {
    "Accepted": _accepted,
    "PreflightPassed": _preflight,
    "PodsScheduled": _scheduled,
    "ModelCached": _cached,
    "ModelLoaded": _loaded,
    "Available": _available,
    "Progressing": _progressing,
    "Degraded": _degraded,
}


def judge(facts: Facts) -> tuple[Condition, ...]:
    """Return all conditions, in the order in which a deployment passes them."""
    old, now = facts.previous.conditions, facts.seen.now
    return tuple(settle(old, kind, answer(facts), facts.generation, now) for kind, answer in _ANSWERS.items())


def settle(
    old: tuple[Condition, ...], kind: ConditionType, answer: Answer, generation: int, now: datetime
) -> Condition:
    """Return a condition; its time is that of the last change of its status, so that watchers see transitions alone."""
    holds, reason, message = answer
    status: Truth = "True" if holds else "False"
    before = next((row for row in old if row.type == kind), None)
    since = before.last_transition_time if before and before.status == status else written(now)
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=since,
    )
