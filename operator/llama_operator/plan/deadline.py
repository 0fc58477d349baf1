"""The progress deadline of a rollout over several nodes, which a LeaderWorkerSet does not watch: as a Deployment's.

Progress is that a rollout begins, that the operator writes another set (a scale, the end of a pause), and that a
group becomes ready. That its pods are made is none: a group that crashes is made anew for ever.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from llama_operator import names
from llama_operator.plan import revisions
from llama_operator.plan.observed import Object, Observed
from llama_operator.spec.model import LlamaDeploymentSpec


def conditions(
    group: Object, leaders: Sequence[Object], spec: LlamaDeploymentSpec, seen: Observed
) -> list[dict[str, str]]:
    """Return the condition Progressing of a rollout that is not done and is out of time; else none.

    `leaders` are those of the present template. A rollout that has been done before has no deadline.
    """
    number = revisions.current(group)
    row = next((row for row in revisions.read(seen) if row.number == number), None)
    wanted = group["spec"].get("replicas", 1)
    if row is None or row.outcome != "Progressing" or spec.rollout.paused or not wanted:
        return []
    since = max((_time(row.started), *_written(group), *_ready(leaders)))
    if seen.now < since + timedelta(seconds=spec.rollout.progress_deadline_seconds):
        return []
    new = sum(1 for _ in _ready(leaders))
    words = f"{new} of {wanted} groups of LeaderWorkerSet {group['metadata']['name']} are of this template and ready"
    return [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": words}]


def _written(group: Object) -> Iterator[datetime]:
    """Yield when the operator last changed the set."""
    rows: Sequence[Mapping[str, Any]] = group["metadata"].get("managedFields") or ()
    for row in rows:
        if (row.get("manager"), row.get("operation")) == (names.FIELD_MANAGER, "Apply") and row.get("time"):
            yield _time(row["time"])


def _ready(leaders: Sequence[Object]) -> Iterator[datetime]:
    for pod in leaders:
        rows: Sequence[Mapping[str, str]] = pod.get("status", {}).get("conditions", ())
        yield from (
            _time(row["lastTransitionTime"]) for row in rows if (row["type"], row["status"]) == ("Ready", "True")
        )


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
