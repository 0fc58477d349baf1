"""`status.history`: the rollouts, newest first, each with what became of it and what it changed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from llama_operator import names
from llama_operator.plan.history import Revision, Rollout
from llama_operator.plan.observed import Event, Json
from llama_operator.plan.revisions import template_of
from llama_operator.spec.status import FieldChange, RolloutRecord
from llama_operator.status.reason import Reason

_MOST_CHANGES: Final = 16
_MOST_CHARACTERS: Final = 120


def records(rollout: Rollout) -> tuple[RolloutRecord, ...]:
    """Return a row for each rollout."""
    rows = rollout.revisions
    return tuple(_record(row, _before(rows[:place])) for place, row in reversed([*enumerate(rows)]))


def _before(rows: tuple[Revision, ...]) -> Revision | None:
    """Return what ran when the next rollout began: the last that succeeded, or was begun."""
    succeeded = [row for row in rows if row.outcome == "Succeeded"]
    return next(reversed(succeeded or list(rows)), None)


def _record(row: Revision, before: Revision | None) -> RolloutRecord:
    return RolloutRecord(
        revision=row.number,
        outcome=row.outcome,
        template=template_of(row) or "",
        started=row.started,
        finished=row.finished,
        reason=row.reason,
        message=row.message,
        changes=tuple(changes(before, row))[:_MOST_CHANGES] if before is not None else (),
    )


def changes(old: Revision, new: Revision) -> Iterator[FieldChange]:
    """Yield what differs between two rollouts: fields of the spec, then what they led to, under names of the status."""
    before, after = dict(_flat(old.spec, "spec")), dict(_flat(new.spec, "spec"))
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield FieldChange(path=path, old=_text(before.get(path)), new=_text(after.get(path)))
    for path, read in (("status.engineImage", image_of), ("status.revision.commit", loads)):
        if read(old) != read(new):
            yield FieldChange(path=path, old=read(old), new=read(new))


def _flat(value: Json, path: str) -> Iterator[tuple[str, Json]]:
    if isinstance(value, Mapping) and value:
        for name, below in cast("Mapping[str, Json]", value).items():
            yield from _flat(below, f"{path}.{name}")
    else:
        yield path, value


def _text(value: Json) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _server(row: Revision) -> Mapping[str, Any]:
    # A template may be nonsense: then the API server refuses the Deployment, and the rollout is noted all the same.
    containers: Sequence[Mapping[str, Any]] = row.template.get("spec", {}).get("containers") or ()
    return next((item for item in containers if item["name"] == names.CONTAINER), {})


def image_of(row: Revision) -> str | None:
    """Return the image of a rollout's server."""
    return _server(row).get("image")


def repo_of(row: Revision) -> str | None:
    """Return the repository of the model that a rollout's pods load."""
    return _env(row, names.Env.MODEL)


def loads(row: Revision) -> str | None:
    """Return the revision of the model that a rollout's pods load."""
    return _env(row, names.Env.REVISION)


def _env(row: Revision, name: str) -> str | None:
    rows: list[Mapping[str, str]] = _server(row).get("env") or []
    return next((item.get("value") for item in rows if item["name"] == name), None)


def told(old: tuple[RolloutRecord, ...], new: tuple[RolloutRecord, ...]) -> Iterator[Event]:
    """Yield an event for each rollout that has been rolled back since."""
    known = {row.revision for row in old if row.outcome == "RolledBack"}
    for row in new:
        if row.outcome == "RolledBack" and row.revision not in known:
            words = f"revision {row.revision} is rolled back, for it failed ({row.reason}): {row.message}"
            yield Event(type="Warning", reason=Reason.ROLLED_BACK, message=words)
