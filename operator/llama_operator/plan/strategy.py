"""How a Deployment replaces its pods: what the spec says, and where it says nothing, what the GPUs allow.

One pod more at a time keeps every replica answering, and needs the GPUs of one more; one pod fewer at a time needs
none. Which it is, is decided when a rollout begins and stays so until the next.
"""

from collections.abc import Mapping
from typing import Any, Final

from llama_operator.plan.observed import Object
from llama_operator.plan.quantity import count
from llama_operator.spec.rollout import Rollout

_NONE: Final = frozenset({"0", "0%"})


def strategy(rollout: Rollout, live: Object | None, *, begins: bool, room: bool | None) -> dict[str, Any]:
    """Return the Deployment's strategy.

    Args:
        rollout: what the spec says.
        live: the Deployment as it is, if it is.
        begins: whether a rollout begins with this plan.
        room: whether the GPUs of one more pod are free; None if that is not known, which counts as yes.
    """
    if rollout.strategy == "Recreate":
        return {"type": "Recreate"}
    surges = room is not False if begins or live is None else surging(live)
    surge, unavailable = rollout.max_surge, rollout.max_unavailable
    if surge is None:
        surge = "1" if surges or unavailable in _NONE else "0"
    if unavailable is None:
        unavailable = "1" if surge in _NONE else "0"
    elif unavailable in _NONE and surge in _NONE:
        unavailable = "1"
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": count(surge), "maxUnavailable": count(unavailable)},
    }


def is_open(rollout: Rollout) -> bool:
    """Whether the spec leaves it to the GPUs."""
    return rollout.strategy == "RollingUpdate" and rollout.max_surge is None and rollout.max_unavailable not in _NONE


def surging(deployment: Object) -> bool:
    """Whether a Deployment makes a new pod before it takes an old one away."""
    limits: Mapping[str, Any] = deployment["spec"].get("strategy", {}).get("rollingUpdate") or {}
    return str(limits.get("maxSurge", "1")) not in _NONE
