"""Which pod to ask: one that serves, else the gateway that wakes them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubectl_llama.errors import CliError
from kubectl_llama.view.timeline import problem
from llama_operator.names import LABEL_WORKER_INDEX

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A pod, and whether it is the gateway: then an answer may take as long as a start."""

    pod: str
    gateway: bool = False


def choose(body: Object, pods: Sequence[Object], gateways: Sequence[Object]) -> Target:
    """Return whom to ask.

    Raises:
        CliError: if nobody would answer, with the reason that the deployment gives.
    """
    serving = [pod for pod in pods if is_ready(pod) and leads(pod)]
    if serving:
        return Target(serving[0]["metadata"]["name"])
    awake = [pod for pod in gateways if is_ready(pod)]
    if awake:
        return Target(awake[0]["metadata"]["name"], gateway=True)
    name, status = body["metadata"]["name"], body.get("status") or {}
    why = problem(status) or f"it is {status.get('phase', 'Pending')}"
    raise CliError(f"{name} does not serve: {why}", code="NotReady", fix=f"kubectl llama diagnose {name}")


def leads(pod: Object) -> bool:
    """Whether a pod answers itself, and does not only compute for another one."""
    return (pod["metadata"].get("labels") or {}).get(LABEL_WORKER_INDEX, "0") == "0"


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and not on its way out."""
    rows = (pod.get("status") or {}).get("conditions") or ()
    ready = any(row["type"] == "Ready" and row["status"] == "True" for row in rows)
    return ready and not pod["metadata"].get("deletionTimestamp")
