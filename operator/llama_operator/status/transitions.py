"""Events: one for each step forward and each new thing that is wrong, none for standing still."""

from collections.abc import Iterable, Iterator
from typing import Final

from llama_operator.plan.observed import Event, Outcome, Ref
from llama_operator.spec.status import Condition, ConditionType
from llama_operator.status.reason import Reason
from llama_operator.status.reasons import REASONS

_TOLD: Final[frozenset[ConditionType]] = frozenset(
    {"Accepted", "PreflightPassed", "PodsScheduled", "ModelCached", "ModelLoaded", "Available"}
)
"""Progressing only repeats what these say, and so does Degraded, but for what spoils nothing else."""


def events(old: Iterable[Condition], new: Iterable[Condition]) -> Iterator[Event]:
    """Yield the events that the change from `old` to `new` conditions calls for."""
    before, new = {row.type: row for row in old}, tuple(new)
    for row in new:
        was = before.get(row.type)
        if row == was:  # what was kept as it was may have a reason of a newer operator's
            continue
        reason = Reason(row.reason)
        if _begins(was, row):
            # The condition's own message counts on; said the same each time it is one event.
            yield Event(type="Normal", reason=reason, message=REASONS[reason].meaning)
        elif (row.type in _TOLD or _is_told_nowhere_else(row, new)) and _tells(was, row):
            yield Event(type="Warning" if REASONS[reason].problem else "Normal", reason=reason, message=row.message)


def _is_told_nowhere_else(row: Condition, new: Iterable[Condition]) -> bool:
    others = (other.reason for other in new if other.type != "Degraded")
    return row.type == "Degraded" and row.reason == Reason.KIND_NOT_INSTALLED and row.reason not in others


def _begins(old: Condition | None, new: Condition) -> bool:
    """Whether a step begins that takes long."""
    if new.reason in (Reason.DOWNLOADING, Reason.LOADING):
        return old is None or old.reason != new.reason
    # The last moments of a start are judged as a rollout too, while the Deployment counts.
    return new.reason == Reason.ROLLING_OUT and (old is None or old.status != new.status)


def _tells(old: Condition | None, new: Condition) -> bool:
    problem = REASONS[Reason(new.reason)].problem
    if new.type == "Available":  # while it is False it repeats another condition's problem
        return new.status == "True" if old is None else old.status != new.status
    if old is None:
        return new.status == "True" or problem
    if old.status != new.status:
        return True
    return problem and old.reason != new.reason


def deeds(outcome: Outcome | None) -> Iterator[Event]:
    """Yield the events of what was done to the objects."""
    if outcome is None:
        return
    # What is noted of a rollout is told by the rollout's own events.
    applied = [ref for ref in outcome.applied if ref.kind != "ControllerRevision"]
    if applied:
        yield Event(type="Normal", reason="Applied", message=f"applied {_written(applied)}")
    pruned = [ref for ref in outcome.pruned if ref.kind != "ControllerRevision"]
    if pruned:
        yield Event(type="Normal", reason="Pruned", message=f"deleted {_written(pruned)}, wanted no more")


def _written(refs: Iterable[Ref]) -> str:
    return ", ".join(f"{ref.kind} {ref.name}" for ref in refs)
