"""Is there room for one pod more? Nodes, what runs on them, and quotas; asked only where it decides something."""

from dataclasses import replace
from typing import Any

import pytest

from llama_operator.plan.observed import Plan
from llama_operator.plan.survey import Room
from llama_operator.rollout.room import has_room, is_asked
from llama_operator.spec.parse import parse
from tests.support.operator_objects import SETTINGS, plan
from tests.support.rollouts import World
from tests.support.survey_objects import a_node, a_quota


def beginning(**spec: Any) -> tuple[World, Plan]:
    """A LlamaDeployment that serves, and the plan of its next rollout."""
    world = World(**spec)
    world.settle()
    world.edit(engine={"dtype": "float32"})
    return world, plan(world.seen())


def a_pod_on(node: str, gpus: int, phase: str = "Running") -> dict[str, Any]:
    """A pod of whomever that holds GPUs."""
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {
        "spec": {"nodeName": node, "containers": [{"name": "any", "resources": resources}]},
        "status": {"phase": phase},
    }


def room(*pods: Any, **changes: Any) -> bool | None:
    """Whether the seed's case, which wants two GPUs, has room on a node of eight with these pods on it."""
    world, found = beginning()
    there = Room(nodes=(a_node(gpus=8), a_node("cpu", gpus=0)), pods=pods, quotas=())
    return has_room(parse(world.body), found, replace(there, **changes))


def test_free_is_what_no_pod_holds() -> None:
    """Whoever's they are; what has ended holds nothing."""
    assert room(a_pod_on("node-1", 6)) is True
    assert room(a_pod_on("node-1", 5), a_pod_on("node-1", 2)) is False
    assert room(a_pod_on("node-1", 7), a_pod_on("elsewhere", 4)) is False
    assert room(a_pod_on("node-1", 8, phase="Succeeded")) is True


def test_the_gpus_must_be_on_one_node_that_would_do() -> None:
    """One here and one there are none; another product's do not count."""
    pods = (a_pod_on("a", 7), a_pod_on("b", 7))
    assert room(*pods, nodes=(a_node("a"), a_node("b"))) is False
    assert room(*pods, nodes=(a_node("a"), a_node("b"), a_node("c", product="Tesla-T4"))) is False


def test_no_pod_stops_where_none_could_start() -> None:
    """Preflight tells of it; where it only warns, or is off, what serves goes on."""
    assert room(nodes=(a_node("a", gpus=1), a_node("b", gpus=1))) is None
    assert room(nodes=(a_node(product="Tesla-T4"),)) is None


def test_a_quota_that_is_used_up_leaves_no_room() -> None:
    """The pod would be refused, wherever its node."""
    quota = a_quota({"requests.nvidia.com/gpu": "4"})
    assert room(quotas=({**quota, "status": {"used": {"requests.nvidia.com/gpu": "2"}}},)) is True
    assert room(quotas=({**quota, "status": {"used": {"requests.nvidia.com/gpu": "3"}}},)) is False


@pytest.mark.parametrize("unknown", ["nodes", "pods"])
def test_what_may_not_be_read_is_not_known(unknown: str) -> None:
    """An operator of some namespaces sees no others' pods."""
    assert room(**{unknown: None}) is None


def test_room_is_looked_for_when_a_rollout_begins() -> None:
    """Then alone: neither before, nor while it is under way, nor when only the number changes."""
    world, found = beginning()
    assert is_asked(parse(world.body), world.seen(), found, SETTINGS)
    world.step()
    assert not is_asked(parse(world.body), world.seen(), plan(world.seen()), SETTINGS)
    world.edit(replicas=3)
    assert not is_asked(parse(world.body), world.seen(), plan(world.seen()), SETTINGS)


@pytest.mark.parametrize(
    "spec",
    [{"rollout": {"maxSurge": 1}}, {"resources": {"gpu": {"count": 0}}}, {"replicas": 0}],
    ids=["said", "no GPUs", "no pods"],
)
def test_room_is_not_looked_for_where_it_decides_nothing(spec: dict[str, Any]) -> None:
    """Reading the pods of a cluster costs something."""
    world, found = beginning(**spec)
    assert not is_asked(parse(world.body), world.seen(), found, SETTINGS)


def test_nodes_that_come_by_themselves_make_room() -> None:
    """A pod that waits is what brings one."""
    world, found = beginning()
    assert not is_asked(parse(world.body), world.seen(), found, replace(SETTINGS, nodes_on_demand=True))
