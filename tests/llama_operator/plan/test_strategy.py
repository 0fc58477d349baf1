"""How pods are replaced: as the spec says, else as the GPUs allow when a rollout begins."""

from typing import Any

import pytest

from llama_operator.plan.strategy import is_open, strategy
from llama_operator.spec.rollout import Rollout


def limits(live: Any = None, *, begins: bool = True, room: bool | None = None, **spec: Any) -> tuple[Any, Any]:
    """Surge and unavailable of a spec's strategy."""
    found = strategy(Rollout.model_validate(spec), live, begins=begins, room=room)["rollingUpdate"]
    return found["maxSurge"], found["maxUnavailable"]


LIVE: Any = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}}


@pytest.mark.parametrize(("room", "expected"), [(True, (1, 0)), (False, (0, 1)), (None, (1, 0))])
def test_the_gpus_decide_where_the_spec_does_not(room: bool | None, expected: tuple[int, int]) -> None:
    """One more where it finds room or nobody can know, else one fewer."""
    assert limits(LIVE, room=room) == expected


def test_what_was_decided_stays_until_the_next_rollout() -> None:
    """A node that fills up, or comes, changes nothing half-way."""
    assert limits(LIVE, begins=False, room=True) == (0, 1)
    assert limits({"spec": {}}, begins=False, room=False) == (1, 0)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"maxSurge": "25%"}, ("25%", 0)),
        ({"maxSurge": 0}, (0, 1)),
        ({"maxUnavailable": 2}, (0, 2)),
        ({"maxUnavailable": 0}, (1, 0)),
        ({"maxSurge": 2, "maxUnavailable": "50%"}, (2, "50%")),
    ],
)
def test_what_the_spec_says_holds(spec: dict[str, Any], expected: tuple[Any, Any]) -> None:
    """Even where there is no room; what it leaves out goes with it, and never are both 0."""
    assert limits(LIVE, room=False, **spec) == expected


def test_recreate_has_no_limits() -> None:
    """The old ones stop first."""
    assert strategy(Rollout(strategy="Recreate"), None, begins=True, room=True) == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({}, True), ({"maxUnavailable": 2}, True), ({"maxUnavailable": 0}, False), ({"maxSurge": 1}, False)],
)
def test_the_gpus_are_asked_only_where_they_decide(spec: dict[str, Any], expected: bool) -> None:
    """Finding out is not for nothing."""
    assert is_open(Rollout.model_validate(spec)) is expected
