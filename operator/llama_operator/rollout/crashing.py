"""Crashes of groups over several nodes, which nobody counts: each makes all pods of its group anew.

The count is kept with the rollout, on its ControllerRevision. Of one group's life it counts the first crash: where one
rank ends, the others do too. So the next that counts is that of a pod which was made since.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from llama_operator.plan.history import Failure, Revision
from llama_operator.plan.observed import Object, Observed
from llama_operator.rollout.failing import CRASHES
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.status.containers import of_container
from llama_operator.status.pods import condition_of, containers, is_ready, of_rollout


def counted(row: Revision, spec: LlamaDeploymentSpec, seen: Observed, live: Object) -> tuple[Revision, Failure | None]:
    """Return the rollout with the crash that is seen now, if it is a new one, and the failure if it is one too many.

    A group that has become ready since the last one ends the count: what follows is not a crash loop. Its leader tells,
    for a worker is ready as soon as it has joined, while the leader may yet crash as it warms up.
    """
    pods = of_rollout(seen, live, row.number, going=True)
    leaders = of_rollout(replace(seen, workers=()), live, row.number)
    if row.crashed is not None and any(_ready_since(pod, row.crashed) for pod in leaders):
        row = replace(row, crashes=0, crashed=None)
    for pod in pods:
        for state, at in _crashes(pod):
            if row.crashed is not None and _time(pod["metadata"]["creationTimestamp"]) < _time(row.crashed):
                continue
            row = replace(row, crashes=row.crashes + 1, crashed=at)
            return row, _loop(spec, seen, pod, state) if row.crashes >= CRASHES else None
    return row, None


def _crashes(pod: Object) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the containers that were started again since they failed, and when; one that is only stopped is not."""
    for state in containers(pod):
        ended: Mapping[str, Any] = (state.get("lastState") or {}).get("terminated") or {}
        if ended.get("exitCode", 0) != 0 and ended.get("finishedAt"):
            yield state, ended["finishedAt"]


def _ready_since(pod: Object, crashed: str) -> bool:
    ready = condition_of(pod, "Ready")
    return is_ready(pod) and ready is not None and _time(ready["lastTransitionTime"]) > _time(crashed)


def _loop(spec: LlamaDeploymentSpec, seen: Observed, pod: Object, state: Mapping[str, Any]) -> Failure | None:
    # It may run again, or be stopped, in the pod that is about to go: what counts is how it ended before.
    found = next(of_container(spec, seen, pod, {**state, "state": {}}), None)
    if found is None:
        return None
    return Failure(reason=found.reason, message=f"{found.message}; its group was made anew {CRASHES - 1} times before")


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
