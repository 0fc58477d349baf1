"""Which rollout the pods are to have: the spec's, or one that was before it.

The same from any history: what became of a rollout is noted on its ControllerRevision before anything follows from
it, so that a process that dies in between finds the note and goes on.
"""

from dataclasses import replace

from llama_operator.plan import revisions
from llama_operator.plan.history import Failure, Revision, Rollout
from llama_operator.plan.observed import Object, Observed
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.wanted import is_ours, wanted_refs
from llama_operator.plan.workload import intent
from llama_operator.rollout.crashing import counted
from llama_operator.rollout.failing import failure
from llama_operator.spec.model import LlamaDeploymentSpec


def decide(spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings) -> Rollout:
    """Return the rollouts, their outcomes brought up to date, and which of them the pods are to have.

    Raises:
        SpecError: if `spec.podTemplate` cannot be merged.
    """
    live = seen.children.get(wanted_refs(seen.key).workload)
    if live is not None and not is_ours(live, seen):
        live = None
    rows = revisions.read(seen)
    if rows and live is not None and rows[-1].outcome == "Progressing":
        rows = (*rows[:-1], _judged(rows[-1], rows, spec, seen, live))
    known = Rollout(revisions=rows)
    if spec.rollout.rollback_to is not None:
        return _by_hand(known, spec.rollout.rollback_to, live, seen)
    newest = known.newest
    if newest is not None and newest.outcome == "RolledBack" and spec.rollout.auto_rollback:
        good = revisions.last_good(rows)
        if good is not None and newest.intent == intent(spec, seen.key, settings):
            return replace(known, keep=good, why="RolledBack")
    return known


def _judged(
    row: Revision, rows: tuple[Revision, ...], spec: LlamaDeploymentSpec, seen: Observed, live: Object
) -> Revision:
    """Return the newest rollout with what has become of it."""
    if revisions.current(live) != row.number:
        return row  # it is not in place yet, or not any more
    if is_complete(live):
        return replace(row, outcome="Succeeded", finished=revisions.stamp(seen.now))
    if spec.rollout.paused or not spec.rollout.auto_rollback or revisions.last_good(rows) is None:
        return row
    found = failure(spec, seen, live, row.number)
    if found is None and spec.resources.gpu.nodes > 1:
        row, found = counted(row, spec, seen, live)
    return row if found is None else _failed(row, found, seen)


def _failed(row: Revision, found: Failure, seen: Observed) -> Revision:
    return replace(
        row,
        outcome="RolledBack",
        finished=revisions.stamp(seen.now),
        reason=found.reason,
        message=found.message,
    )


def _by_hand(known: Rollout, number: int, live: Object | None, seen: Observed) -> Rollout:
    named = next((row for row in known.revisions if row.number == number), None)
    if named is None:
        running = revisions.current(live)
        # What runs goes on; without anything that runs, the last that did.
        keep = next((row for row in known.revisions if row.number == running), known.newest)
        return replace(known, keep=keep, why="NoSuchRevision")
    rows = tuple(_left(row, number, seen) for row in known.revisions)
    return replace(known, revisions=rows, keep=named, why="RollbackTo")


def _left(row: Revision, number: int, seen: Observed) -> Revision:
    if row.outcome != "Progressing" or row.number == number:
        return row
    message = f"spec.rollout.rollbackTo named revision {number} before it was done"
    return replace(row, outcome="Superseded", finished=revisions.stamp(seen.now), message=message)


def is_complete(live: Object) -> bool:
    """Whether every pod of a Deployment has its present template and is ready; of none nothing is known."""
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    if not wanted or status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return False
    return {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")} == {wanted}
