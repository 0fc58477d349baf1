"""The state of one deployment as lines for people. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from kubectl_llama.view import summary, text, timeline

Object = Mapping[str, Any]


def story(body: Object, now: datetime) -> Iterator[str]:
    """Yield what it is, how it stands, what it waits for, and what it has cost."""
    status = body.get("status") or {}
    shown = summary.as_json(body)
    old = text.age(body["metadata"].get("creationTimestamp"), now)
    yield f"{shown['name']}: {shown['phase']}, {shown['ready']} ready, {old} old"
    model = (body.get("spec") or {}).get("model") or {}
    commit = (status.get("revision") or {}).get("commit")
    if model:
        yield f"  model     {model.get('repo')}" + (f" at commit {commit[:12]}" if commit else "")
    if shown.get("package"):
        yield f"  package   {shown['package']['where']}"
    if shown["predict"]["url"]:
        yield f"  url       {shown['predict']['url']}/predict"
    if (revision := shown["revision"]) is not None:
        newest = status["history"][0]
        yield f"  revision  {revision}, {newest['outcome']}"
    cost: Object = status.get("cost") or {}
    if cost:
        spent = f", spent {cost['spent']:g}" if cost.get("spent") is not None else ""
        yield f"  GPU-hours {cost.get('gpuHoursHeld', 0):.2f} held, {cost.get('gpuHoursIdle', 0):.2f} idle{spent}"
    rows = timeline.rows(status)
    if rows:
        yield "  start"
        yield from (f"    {timeline.MARKS.get(row.state, '·')} {row.name:<11} {row.words}".rstrip() for row in rows)
    yield from _conditions(status)


def _conditions(status: Object) -> Iterator[str]:
    if status.get("conditions"):
        yield "  conditions"
    for row in status.get("conditions") or ():
        settled = row["type"] in ("Degraded", "Progressing")  # of these False is the good answer
        good = row["status"] == ("False" if settled else "True")
        mark = "✓" if good else "✗" if row["status"] != "Unknown" and row["reason"] != "Waiting" else "·"
        yield f"    {mark} {row['type']:<15} {row['reason']}: {row['message']}"
