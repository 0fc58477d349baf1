"""GPU-hours that a LlamaDeployment has held, and of them those in which nothing was asked of it.

A pod holds its GPUs from the moment it has a node until it ends, while it starts and stops as well. It is idle while
no request runs in it, as its server counts. All is kept in the status, so that an operator that starts anew counts on;
a step is taken once a minute, or when a pod comes or goes.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from llama_operator.plan.observed import Object, Observed
from llama_operator.plan.quantity import amount
from llama_operator.spec.cost import CostSpec
from llama_operator.spec.status import Cost, Holder

STEP_SECONDS: Final = 60.0
"""How often the status is written for the cost alone."""
_UNSEEN_SECONDS: Final = 1.25 * STEP_SECONDS
"""How long a pod that is gone may have held its GPUs since the last step: all were looked at each minute."""
_HOUR: Final = 3600
_PLACES: Final = 6
_MILLION: Final = 1e6
_GPU: Final = re.compile(r"[^/]+/(gpu|mig-[^/]+|xe|i915)(\.shared)?")
"""GPUs as their device plugins call them: NVIDIA's, AMD's and Intel's, whole, in part and shared."""
_USUAL: Final = "nvidia.com/gpu"


def cost_of(body: Object) -> Cost | None:
    """Return the cost in the status of a LlamaDeployment; None if there is none that can be read."""
    written = (body.get("status") or {}).get("cost")
    try:
        return None if written is None else Cost.model_validate(written)
    except ValidationError:
        return None


def is_due(previous: Cost | None, body: Object, now: datetime, pods: tuple[Object, ...]) -> bool:
    """Whether a step is to be taken: a minute has passed, or other pods hold GPUs than before."""
    held = {pod["metadata"]["name"] for pod, _ in _holding(pods, _resource_name(body))}
    if previous is None or held != {row.name for row in previous.holders}:
        return bool(held) or previous is not None
    return bool(held) and (now - _time(previous.as_of)).total_seconds() >= STEP_SECONDS


def count(previous: Cost | None, spec: CostSpec, seen: Observed) -> Cost | None:
    """Return the cost up to now; None for a deployment that has never held a GPU."""
    cost = _step(previous, seen) if is_due(previous, seen.body, seen.now, (*seen.pods, *seen.workers)) else previous
    return None if cost is None else _priced(cost, spec.price_per_gpu_hour)


def _step(previous: Cost | None, seen: Observed) -> Cost:
    now = seen.now.replace(microsecond=0)
    before = previous or Cost(as_of=_written(now))
    gone = {row.name: row for row in before.holders}
    held, busy, tokens = 0.0, 0.0, 0.0
    holders: list[Holder] = []
    for pod, gpus in _holding((*seen.pods, *seen.workers), _resource_name(seen.body)):
        name = pod["metadata"]["name"]
        row = gone.pop(name, None) or Holder(name=name, gpus=gpus)
        begun = _placed(pod) if previous is None else max(_placed(pod), _time(before.as_of))
        held += gpus * _seconds(begun, now)
        usage = seen.usage.get(name)
        if usage is not None:
            busy += gpus * _grown(row.busy_seconds, usage.busy_seconds)
            tokens += _grown(row.tokens, usage.tokens)
            row = row.model_copy(update={"busy_seconds": usage.busy_seconds, "tokens": usage.tokens})
        holders.append(row)
    for row in gone.values():
        held += row.gpus * min(_seconds(_time(before.as_of), now), _UNSEEN_SECONDS)
    total, used = before.gpu_hours_held + held / _HOUR, before.gpu_hours_busy + busy / _HOUR
    return Cost(
        as_of=_written(now),
        gpu_hours_held=round(total, _PLACES),
        gpu_hours_busy=round(used, _PLACES),
        # What was idle stays idle: a server that did not answer for a while may tell of more work than was left for it.
        gpu_hours_idle=round(max(before.gpu_hours_idle, total - used), _PLACES),
        generated_tokens=before.generated_tokens + round(tokens),
        holders=tuple(sorted(holders, key=lambda row: row.name)),
    )


def _resource_name(body: Object) -> str:
    gpu = ((body.get("spec") or {}).get("resources") or {}).get("gpu") or {}
    return gpu.get("resourceName") or _USUAL


def _priced(cost: Cost, price: float | None) -> Cost:
    spent = None if price is None else round(cost.gpu_hours_held * price, _PLACES)
    tokens = cost.generated_tokens
    per_million = round(spent / tokens * _MILLION, _PLACES) if spent is not None and tokens else None
    return cost.model_copy(update={"spent": spent, "per_million_tokens": per_million})


def _grown(before: float, now: float) -> float:
    """Return how much a counter has grown; one that is smaller has begun anew."""
    return now - before if now >= before else now


def _holding(pods: tuple[Object, ...], name: str) -> Iterator[tuple[Object, int]]:
    """Yield the pods that hold GPUs, called `name`, with their number: on a node, and not ended."""
    for pod in pods:
        spec: Mapping[str, Any] = pod.get("spec") or {}
        ended = (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")
        # A sidecar, such as TGI, holds what it has as long as the pod; other init containers are over by then.
        sidecars = (row for row in spec.get("initContainers") or () if row.get("restartPolicy") == "Always")
        gpus = sum(_gpus(row, name) for row in (*(spec.get("containers") or ()), *sidecars))
        if spec.get("nodeName") and not ended and gpus:
            yield pod, gpus


def _gpus(container: Mapping[str, Any], name: str) -> int:
    """Return a container's GPUs: what is called `name`, and what vendors call theirs, for pods of an earlier spec.

    Other extended resources, such as network devices, are no GPUs.
    """
    limits: Mapping[str, str] = (container.get("resources") or {}).get("limits") or {}
    return sum(int(amount(value)) for kind, value in limits.items() if kind == name or _GPU.fullmatch(kind))


def _placed(pod: Object) -> datetime:
    """Return when a pod got its node."""
    rows = (pod.get("status") or {}).get("conditions") or ()
    placed = next((row.get("lastTransitionTime") for row in rows if row["type"] == "PodScheduled"), None)
    return _time(placed or pod["metadata"]["creationTimestamp"])


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _written(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
