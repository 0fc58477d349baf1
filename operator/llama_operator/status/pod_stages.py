"""The stages that the kubelet and the scheduler tell of: Scheduling, ImagePull, Start; pure.

That an image was pulled is told by an event alone, which is written beside the pod's status and gone within the hour:
what was known of it once is kept.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from llama_operator.plan.observed import Object
from llama_operator.spec.status import Stage
from llama_operator.status.pods import condition_of, container, parse_time, seconds_between, written

SCHEDULING, IMAGE_PULL, START = "Scheduling", "ImagePull", "Start"
POD_STAGES: Final = (SCHEDULING, IMAGE_PULL, START)

_TOOK: Final = re.compile(r" in ([0-9.]+(?:h|m|s|ms|µs|us|ns)\S*) ")
_PART: Final = re.compile(r"([0-9.]+)(h|ms|m|s|µs|us|ns)")
_SIZE: Final = re.compile(r"Image size: ([0-9]+) bytes")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


def of_pod(pod: Object, events: Sequence[Object], known: Stage | None = None) -> tuple[Stage, Stage, Stage]:
    """Return how far a pod is; `events` are those of its namespace, `known` what an earlier look told of the image."""
    created = pod["metadata"]["creationTimestamp"]
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled is None or scheduled["status"] != "True":
        waits = Stage(name=SCHEDULING, state="running", started=created)
        return waits, Stage(name=IMAGE_PULL, state="pending"), Stage(name=START, state="pending")
    placed = scheduled["lastTransitionTime"]
    first = Stage(name=SCHEDULING, state="done", started=created, seconds=seconds_between(created, placed))
    begun = _started(pod)
    # The event may come later than the container that was started of the image.
    pull = known if known is not None and known.seconds is not None else _pulled(pod, events)
    if pull is None and begun is None:
        return first, Stage(name=IMAGE_PULL, state="running", started=placed), Stage(name=START, state="pending")
    pull = pull or Stage(name=IMAGE_PULL, state="done")
    if begun is None:
        return first, pull, Stage(name=START, state="running", started=_end(pull) or placed)
    since = min(_end(pull) or placed, begun, key=parse_time)
    return first, pull, Stage(name=START, state="done", started=since, seconds=seconds_between(since, begun))


def _started(pod: Object) -> str | None:
    running: dict[str, Any] | None = container(pod).get("state", {}).get("running")
    return running["startedAt"] if running else None


def _pulled(pod: Object, events: Sequence[Object]) -> Stage | None:
    """Return the stage from the kubelet's event: how long it took, and how large the image is."""
    for event in events:
        about = event.get("involvedObject") or {}
        ours = event.get("reason") == "Pulled" and about.get("uid") == pod["metadata"].get("uid")
        at = event.get("firstTimestamp") or event.get("eventTime")
        if not ours or not at:
            continue
        message = event.get("message") or ""
        took, size = _seconds(message), _SIZE.search(message)
        count = int(size[1]) if size and took else None  # one that was there already moved no byte
        return Stage(
            name=IMAGE_PULL,
            state="done",
            started=written(parse_time(at) - timedelta(seconds=took)),
            seconds=round(took, 1),
            bytes_done=count,
            bytes_total=count,
            bytes_per_second=round(count / took) if count and took else None,
        )
    return None


def _seconds(message: str) -> float:
    """Return the duration in a message such as `Successfully pulled image "x" in 1m2.5s (2m including waiting).`."""
    found = _TOOK.search(message)
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(found[1])) if found else 0.0


def _end(stage: Stage) -> str | None:
    if stage.started is None or stage.seconds is None:
        return None
    return written(parse_time(stage.started) + timedelta(seconds=stage.seconds))
