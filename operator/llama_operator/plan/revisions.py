"""Rollouts as ControllerRevisions: read them, write them, begin the next.

A log: numbers only grow, and a template that is wanted again is another rollout. What is kept is bounded.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from llama_operator import names
from llama_operator.plan import package
from llama_operator.plan.history import Revision, Rollout
from llama_operator.plan.objects import metadata
from llama_operator.plan.observed import Key, Object, Observed
from llama_operator.spec.model import LlamaDeploymentSpec

KIND: Final = "ControllerRevision"
MOST: Final = 10
"""Rollouts that are kept, besides the last that succeeded."""
_NOT_OF_PODS: Final = frozenset(
    {"replicas", "scaling", "disruptionBudget", "service", "preflight", "cache", "monitoring", "networkPolicy"}
)
"""Fields of the spec that no pod is replaced for."""


def read(seen: Observed) -> tuple[Revision, ...]:
    """Return the rollouts of a LlamaDeployment, oldest first."""
    rows = (obj for ref, obj in seen.children.items() if ref.kind == KIND and _owned(obj, seen))
    return tuple(sorted(map(_revision, rows), key=lambda row: row.number))


def _owned(obj: Object, seen: Observed) -> bool:
    owners: list[Mapping[str, str]] = obj["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == seen.uid for owner in owners)


def _revision(obj: Object) -> Revision:
    data: Mapping[str, Any] = obj["data"]
    told: Mapping[str, Any] = json.loads(obj["metadata"]["annotations"][names.ANNOTATION_ROLLOUT])
    return Revision(
        number=obj["revision"],
        template=data["template"],
        annotations=data["annotations"],
        intent=data["intent"],
        spec=data["spec"],
        started=data["started"],
        outcome=told.get("outcome", "Progressing"),
        finished=told.get("finished"),
        reason=told.get("reason"),
        message=told.get("message"),
        crashes=told.get("crashes", 0),
        crashed=told.get("crashed"),
    )


def written(revision: Revision, key: Key, owner: Object) -> dict[str, Any]:
    """Return the ControllerRevision of a rollout; its data never changes, its outcome is an annotation."""
    told = {
        "outcome": revision.outcome,
        "finished": revision.finished,
        "reason": revision.reason,
        "message": revision.message,
        "crashes": revision.crashes or None,
        "crashed": revision.crashed,
    }
    note = json.dumps({name: value for name, value in told.items() if value is not None}, sort_keys=True)
    name = names.revision(key.name, revision.number)
    return {
        "apiVersion": "apps/v1",
        "kind": KIND,
        "metadata": metadata(key, name, owner=owner, annotations={names.ANNOTATION_ROLLOUT: note}),
        "revision": revision.number,
        "data": {
            "template": copy.deepcopy(revision.template),  # nobody shall change two objects in one
            "annotations": dict(revision.annotations),
            "intent": revision.intent,
            "spec": revision.spec,
            "started": revision.started,
        },
    }


def current(live: Object | None) -> int | None:
    """Return the number of the rollout that a live Deployment has."""
    annotations: Mapping[str, str] = (live["metadata"].get("annotations") or {}) if live is not None else {}
    number = annotations.get(names.ANNOTATION_REVISION, "")
    return int(number) if number.isdigit() else None


def template_of(holder: Revision | Object | None) -> str | None:
    """Return the digest of a rollout's template, or of a live Deployment's as it was applied."""
    if isinstance(holder, Revision):
        return holder.annotations.get(names.ANNOTATION_TEMPLATE)
    annotations: Mapping[str, str] = (holder["metadata"].get("annotations") or {}) if holder is not None else {}
    return annotations.get(names.ANNOTATION_TEMPLATE)


def advance(rollout: Rollout, wanted: Revision, live: Object | None) -> tuple[Revision, Rollout]:
    """Return the rollout that the pods are to have, and all of them with it in their number.

    It is the newest one, if that has the template that is `wanted` and is under way, in place, or to be put back by
    a Deployment that was deleted. Otherwise it is a new one: also for a template that was there before, so that it is
    judged anew.
    """
    newest = rollout.newest
    if newest is not None and template_of(newest) == template_of(wanted) and _goes_on(newest, live):
        return newest, replace(rollout, running=newest.number)
    begun = replace(wanted, number=newest.number + 1 if newest else 1)
    rows = (*(_superseded(row, begun) for row in rollout.revisions), begun)
    return begun, replace(rollout, revisions=_bounded(rows), running=begun.number)


def _goes_on(newest: Revision, live: Object | None) -> bool:
    return newest.outcome == "Progressing" or live is None or current(live) == newest.number


def last_good(rows: tuple[Revision, ...]) -> Revision | None:
    """Return the last rollout before the newest one that succeeded with another template."""
    others = (row for row in reversed(rows[:-1]) if row.outcome == "Succeeded")
    return next((row for row in others if template_of(row) != template_of(rows[-1])), None)


def needed(rows: tuple[Revision, ...]) -> Iterator[Revision]:
    """Yield the rollouts whose model has to stay: the newest, and the last that served until the newest does."""
    yield from rows[-1:]
    if rows and rows[-1].outcome != "Succeeded" and (good := last_good(rows)):
        yield good


def _superseded(row: Revision, by: Revision) -> Revision:
    if row.outcome != "Progressing":
        return row
    message = f"revision {by.number} took its place before it was done"
    return replace(row, outcome="Superseded", finished=by.started, message=message)


def _bounded(rows: tuple[Revision, ...]) -> tuple[Revision, ...]:
    kept, older = rows[-MOST:], rows[:-MOST]
    if any(row.outcome == "Succeeded" for row in kept):
        return kept
    return (*[row for row in older if row.outcome == "Succeeded"][-1:], *kept)


def about_pods(spec: LlamaDeploymentSpec) -> dict[str, Any]:
    """Return what the spec says about pods, without defaults, as it is written."""
    written = package.as_written(spec)
    hidden = {"model"} if written.package is not None else None
    dump = written.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=hidden)
    golden = dump.pop("rollout", {}).get("goldenPrompts")
    said = {name: value for name, value in dump.items() if name not in _NOT_OF_PODS}
    return {**said, **({"rollout": {"goldenPrompts": golden}} if golden else {})}


def stamp(now: datetime) -> str:
    """Return a time as Kubernetes writes it: UTC, whole seconds."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
