"""Is a start-up still getting on? A Deployment's controller sees pods alone, not the bytes that come for hours."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from llama_operator.plan.observed import Object, Observed
from llama_operator.status.pods import parse_time


def gets_on(seen: Observed, pods: Iterable[Object], seconds: float) -> bool:
    """Whether one of these pods has begun a stage, or moved a byte, within so many seconds.

    A stage that has failed and is tried again does neither.
    """
    since = seen.now - timedelta(seconds=seconds)
    reports = (seen.startup.get(pod["metadata"]["name"], {}) for pod in pods)
    return any(_moved(report, seen.now) > since for report in reports if not report.get("error"))


def _moved(report: Mapping[str, Any], now: datetime) -> datetime:
    """Return when a server last got on; long ago where it tells of nothing under way."""
    times = [datetime.min.replace(tzinfo=now.tzinfo)]
    for stage in report.get("stages") or ():
        if stage.get("state") == "running":
            times.append(parse_time(stage["started"]))
            if "idle_seconds" in stage and stage.get("bytes_done"):
                times.append(now - timedelta(seconds=stage["idle_seconds"]))
    return max(times)
