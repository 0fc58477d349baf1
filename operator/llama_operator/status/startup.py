"""The start-up timeline: from an accepted spec to an answering server, stage by stage.

Preflight is the operator's own; `pod_stages` reads the next from the pod; then the server reports; Ready is the way
from its last word to the first request that the Service lets through.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from llama_operator.plan.observed import Object, Observed, PreflightResult
from llama_operator.spec.status import LlamaDeploymentStatus, Stage, Startup
from llama_operator.status import pod_stages
from llama_operator.status.pod_stages import IMAGE_PULL, POD_STAGES
from llama_operator.status.pods import (
    condition_of,
    container,
    is_active,
    is_ready,
    parse_time,
    seconds_between,
    written,
)

PREFLIGHT, READY = "Preflight", "Ready"
SERVER_STAGES: Final = ("Resolve", "Download", "Load", "WarmUp", "Golden")
ALL_STAGES: Final = (PREFLIGHT, *POD_STAGES, *SERVER_STAGES, READY)


def timeline(
    seen: Observed,
    previous: LlamaDeploymentStatus,
    preflight: PreflightResult | None,
    *,
    wanted: bool = True,
    fetching: Sequence[Object] | None = None,
    fetched: bool = False,
) -> Startup | None:
    """Return the timeline of the least advanced active pod.

    Once all are ready it stays that of the pod that was followed, completed; a server that is ready is not asked
    any more. Before there is a pod it tells of the checks, where pods are `wanted`. While the pods of a Job are
    `fetching` the model for pods to come, these are followed; None if there is no such Job, or it has `fetched` it:
    then the download of the serving pods is the one that was done for them.
    """
    before = previous.startup
    pods = [pod for pod in (seen.pods if fetching is None else fetching) if is_active(pod)]
    if not pods:
        by_job = fetched or fetching is not None
        download = _downloaded(before, written(seen.now), fetched=fetched) if by_job else None
        return _checking(seen, previous, preflight, download) if wanted else None
    unready = [_of_pod(seen, pod, before, fetched=fetched) for pod in pods if not is_ready(pod)]
    if unready:
        return min(unready, key=_advance)
    followed = before.pod_name if before else None
    pod = next((pod for pod in pods if pod["metadata"]["name"] == followed), None)
    if pod is None or before is None:
        return _finished(
            seen, max(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], _name(pod))), before, fetched=fetched
        )
    return before if before.seconds is not None else _finished(seen, pod, before, fetched=fetched)


def has_done(startup: Startup | None, stage: str) -> bool:
    """Whether the timeline has `stage` behind it."""
    return startup is not None and any(row.name == stage and row.state == "done" for row in startup.stages)


def server_stage(startup: Startup | None) -> str | None:
    """Return the stage that the server is in; None before it has told of one."""
    if startup is None or startup.stage not in SERVER_STAGES:
        return None
    begun = any(row.name in SERVER_STAGES and row.state != "pending" for row in startup.stages)
    return startup.stage if begun else None


def _name(pod: Object) -> str:
    return pod["metadata"]["name"]


def _checking(
    seen: Observed, previous: LlamaDeploymentStatus, preflight: PreflightResult | None, download: Stage | None
) -> Startup:
    """Return the timeline before there is a pod; `download` is what a Job has done of it already."""
    before = _row(previous.startup, PREFLIGHT) if _is_under_way(previous.startup) else None
    born = seen.body["metadata"].get("creationTimestamp") if not previous.observed_generation else None
    began = (before.started if before else None) or born or written(seen.now)
    held = preflight is not None and preflight.holds
    if held:
        state = "running" if preflight is None or preflight.reason == "Checking" else "failed"
        first = Stage(name=PREFLIGHT, state=state, started=began)
    elif before is not None and before.state == "done":
        first = before
    else:
        first = Stage(name=PREFLIGHT, state="done", started=began, seconds=seconds_between(began, written(seen.now)))
    rest = tuple(Stage(name=name, state="pending") for name in ALL_STAGES if name != PREFLIGHT)
    if download is not None:
        rest = tuple(download if row.name == download.name else row for row in rest)
    return Startup(stage=PREFLIGHT if held else POD_STAGES[0], stages=(first, *rest))


def _is_under_way(startup: Startup | None) -> bool:
    """Whether it tells of a start that is not over, so that what it knows of the checks is known of this one."""
    return startup is not None and startup.seconds is None


def _row(startup: Startup | None, name: str) -> Stage | None:
    return next((row for row in startup.stages if row.name == name), None) if startup else None


def _of_pod(seen: Observed, pod: Object, before: Startup | None, *, fetched: bool) -> Startup:
    report = seen.startup.get(_name(pod))
    silent = report is None and before is not None and before.pod_name == _name(pod) and not _has_failed(pod)
    server = (tuple(_known(before)) if silent else ()) or _server_stages(report)
    if fetched and _is_under_way(before):
        server = tuple(_fetched(row, _row(before, row.name), written(seen.now)) for row in server)
    stages = (*_head(seen, pod, before), *server, Stage(name=READY, state="pending"))
    current = next(stage for stage in stages if stage.state != "done")
    eta = _eta(current.eta_seconds) if current.eta_seconds is not None else None
    return Startup(pod_name=_name(pod), stage=current.name, eta=eta, stages=stages)


def _head(seen: Observed, pod: Object, before: Startup | None) -> tuple[Stage, ...]:
    """Return the stages up to the server's first word."""
    image = _row(before, IMAGE_PULL) if before and before.pod_name == _name(pod) else None
    return _checked(pod, before), *pod_stages.of_pod(pod, seen.events, image)


def _checked(pod: Object, before: Startup | None) -> Stage:
    """Return the checks before a pod: over, and how long they took where that is known."""
    known = _row(before, PREFLIGHT) if _is_under_way(before) else None
    if known is None or known.state == "done" or known.started is None:
        return known or Stage(name=PREFLIGHT, state="done")
    took = seconds_between(known.started, pod["metadata"]["creationTimestamp"])
    return Stage(name=PREFLIGHT, state="done", started=known.started, seconds=took)


def _has_failed(pod: Object) -> bool:
    """Whether the server's container has to be started anew, so that what it told before is past."""
    state: dict[str, Any] = container(pod).get("state", {})
    ended: dict[str, Any] = state.get("terminated") or {}
    return "waiting" in state or ended.get("exitCode", 0) != 0


def _downloaded(before: Startup | None, now: str, *, fetched: bool) -> Stage | None:
    """Return what is known of the download of a Job whose pod is over, completed once it has `fetched` everything."""
    row = _row(before, "Download") if _is_under_way(before) else None
    return _complete(row, now) if row is not None and fetched and row.bytes_total is not None else row


def _fetched(row: Stage, before: Stage | None, now: str) -> Stage:
    """Return the download that was done for a pod, in place of its own, which found everything there."""
    if row.name != "Download" or before is None or before.bytes_total is None:
        return row
    return _complete(before, now)


def _advance(startup: Startup) -> tuple[int, int, str]:
    done = sum(stage.state == "done" for stage in startup.stages)
    current = next((stage for stage in startup.stages if stage.state != "done"), None)
    return done, (current.bytes_done or 0) if current else 0, startup.pod_name or ""


def _server_stages(report: Object | None) -> tuple[Stage, ...]:
    if report is None:
        return tuple(Stage(name=name, state="pending") for name in SERVER_STAGES)
    return tuple(server_stage_of(row) for row in report.get("stages", ()))


def server_stage_of(row: Object) -> Stage:
    """Return a stage as a server reports it."""
    done = row["state"] == "done"
    seconds, rate, eta = row.get("seconds"), row.get("bytes_per_second"), row.get("eta_seconds")
    running = row["state"] == "running"
    return Stage(
        name=row["name"],
        state=row["state"],
        started=_whole_seconds(row.get("started")),
        # Of a stage under way the start says enough: a number that moves would be a write each time one looks.
        seconds=round(seconds, 1) if done and seconds is not None else None,
        bytes_done=row.get("bytes_done"),
        bytes_total=row.get("bytes_total"),
        bytes_per_second=round(rate) if rate is not None and (done or running) else None,
        eta_seconds=math.ceil(eta / 5) * 5 if eta is not None and running else None,
    )


def _whole_seconds(time: str | None) -> str | None:
    return None if time is None else time.partition(".")[0].rstrip("Z") + "Z"


def _finished(seen: Observed, pod: Object, previous: Startup | None, *, fetched: bool) -> Startup:
    """Return the timeline of a ready pod, from what was known while it started."""
    ready = condition_of(pod, "Ready")
    end = ready["lastTransitionTime"] if ready else pod["metadata"]["creationTimestamp"]
    report = seen.startup.get(_name(pod))
    known = _server_stages(report) if report else _known(previous)
    if fetched and _is_under_way(previous):
        known = [_fetched(row, _row(previous, row.name), end) for row in known]
    served = tuple(_complete(stage, end) for stage in known)
    return Startup(
        pod_name=_name(pod),
        seconds=seconds_between(pod["metadata"]["creationTimestamp"], end),
        stages=(*_head(seen, pod, previous), *served, _readiness(served, end)),
    )


def _known(previous: Startup | None) -> Sequence[Stage]:
    return [stage for stage in previous.stages if stage.name in SERVER_STAGES] if previous else ()


def _readiness(served: Sequence[Stage], end: str) -> Stage:
    """Return the way from the server's last stage to the readiness that the kubelet saw."""
    last = served[-1] if served else None
    if last is None or last.started is None or last.seconds is None:
        return Stage(name=READY, state="done", started=end, seconds=0.0)
    since = min(written(parse_time(last.started) + timedelta(seconds=last.seconds)), end, key=parse_time)
    return Stage(name=READY, state="done", started=since, seconds=seconds_between(since, end))


def _complete(stage: Stage, end: str) -> Stage:
    if stage.state == "done":
        return stage
    took = seconds_between(stage.started, end) if stage.started else None
    done = stage.bytes_total if stage.bytes_total is not None else stage.bytes_done
    rate = round(done / took) if done and took else None
    return stage.model_copy(
        update={"state": "done", "seconds": took, "bytes_done": done, "bytes_per_second": rate, "eta_seconds": None}
    )


def _eta(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds}s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"
