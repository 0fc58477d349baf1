"""The timeline and the words of a package: its environment is made by a Job, before any pod."""

from collections.abc import Sequence
from typing import Final

from llama_operator.plan.observed import Object, Observed, PreflightResult
from llama_operator.spec.status import LlamaDeploymentStatus, Stage, Startup
from llama_operator.status.pods import is_active, seconds_between, written
from llama_operator.status.startup import PREFLIGHT, server_stage_of, timeline

ENVIRONMENT: Final = "Environment"
_OF_MODELS: Final = frozenset({"Resolve", "Download", "WarmUp"})
"""Stages that a package has none of, until its server tells otherwise."""


def package_timeline(
    seen: Observed,
    previous: LlamaDeploymentStatus,
    preflight: PreflightResult | None,
    *,
    wanted: bool,
    making: Sequence[Object] | None,
) -> Startup | None:
    """Return the timeline of the least advanced pod, or of the pods of the Job that are `making` the environment.

    None if no Job is waited for: then the environment is the one that was made for the serving pods.
    """
    before = _known(previous.startup)
    if making is None:
        found = timeline(seen, previous, preflight, wanted=wanted)
        return _with(found, _complete(before, written(seen.now)) if before else None)
    found = timeline(seen, previous, preflight, wanted=wanted, fetching=())
    if found is None:
        return None
    held = found.stage == PREFLIGHT
    pod = next((pod for pod in making if is_active(pod)), None)
    return _with(found, Stage(name=ENVIRONMENT, state="pending") if held else _under_way(seen, pod, before))


def _known(startup: Startup | None) -> Stage | None:
    """Return what is known of the environment of a start that is not over."""
    if startup is None or startup.seconds is not None:
        return None
    return next((row for row in startup.stages if row.name == ENVIRONMENT and row.state != "pending"), None)


def _under_way(seen: Observed, pod: Object | None, before: Stage | None) -> Stage:
    """Return how far the Job is: as its pod says, or as it said last."""
    if pod is None:
        return before or Stage(name=ENVIRONMENT, state="running", started=written(seen.now))
    began = before.started if before is not None else pod["metadata"]["creationTimestamp"]
    rows = seen.startup.get(pod["metadata"]["name"], {}).get("stages", ())
    told = next((server_stage_of(row) for row in rows if row["name"] == ENVIRONMENT), None)
    if told is None:
        return before or Stage(name=ENVIRONMENT, state="running", started=began)
    return told.model_copy(update={"started": began})


def _complete(stage: Stage, end: str) -> Stage:
    if stage.state == "done":
        return stage
    took = seconds_between(stage.started, end) if stage.started else None
    return stage.model_copy(update={"state": "done", "seconds": took})


def _with(startup: Startup | None, made: Stage | None) -> Startup | None:
    """Return the timeline with the environment's stage behind the checks, and without what packages do not have."""
    if startup is None:
        return None
    rows = [row for row in startup.stages if not (row.name in _OF_MODELS and row.state == "pending")]
    if made is not None and all(row.name != ENVIRONMENT for row in rows):
        rows.insert(next((place + 1 for place, row in enumerate(rows) if row.name == PREFLIGHT), 0), made)
    if startup.seconds is not None:
        return startup.model_copy(update={"stages": tuple(rows)})
    current = next((row.name for row in rows if row.state != "done"), startup.stage)
    return startup.model_copy(update={"stages": tuple(rows), "stage": current})
