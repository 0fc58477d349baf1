"""Events: one object for each thing that is said, counted up, and never worth failing for."""

from typing import Any

import pytest

from llama_operator.cluster.events import record
from llama_operator.cluster.storms import BURST, SECONDS, StormLimit
from llama_operator.errors import ClusterError
from llama_operator.plan.observed import Event
from tests.support.fake_cluster import FakeCluster
from tests.support.operator_objects import KEY, UID, a_body

WRONG = Event(type="Warning", reason="TokenRejected", message="put a valid token there")


def a_llama() -> dict[str, Any]:
    """A stored LlamaDeployment."""
    body = a_body()
    return {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}


async def test_an_event_names_its_llamadeployment() -> None:
    """So that `kubectl describe` finds it."""
    cluster = FakeCluster()
    await record(cluster, a_llama(), WRONG, StormLimit())
    (event,) = cluster.stored("Event")
    about = event["involvedObject"]
    assert (about["kind"], about["namespace"], about["name"], about["uid"]) == (
        "LlamaDeployment",
        KEY.namespace,
        KEY.name,
        UID,
    )
    assert (event["type"], event["reason"], event["message"]) == (WRONG.type, WRONG.reason, WRONG.message)
    assert (event["count"], event["metadata"]["namespace"]) == (1, KEY.namespace)
    assert event["firstTimestamp"] == event["lastTimestamp"]


async def test_what_is_said_again_is_counted_up() -> None:
    """However often a thing happens, it is one object."""
    cluster = FakeCluster()
    for _ in range(3):
        await record(cluster, a_llama(), WRONG, StormLimit())
    assert [event["count"] for event in cluster.stored("Event")] == [3]


async def test_other_words_are_another_event() -> None:
    """And so is the same about another LlamaDeployment of that name."""
    cluster = FakeCluster()
    await record(cluster, a_llama(), WRONG, StormLimit())
    await record(cluster, a_llama(), Event(type="Warning", reason="TokenRejected", message="other words"), StormLimit())
    again = a_llama()
    again["metadata"]["uid"] = "another"
    await record(cluster, again, WRONG, StormLimit())
    assert [event["count"] for event in cluster.stored("Event")] == [1, 1, 1]


async def test_a_message_is_cut_to_what_the_api_server_takes() -> None:
    """1024 characters."""
    cluster = FakeCluster()
    await record(cluster, a_llama(), Event(type="Normal", reason="Applied", message="x" * 5000), StormLimit())
    assert [len(event["message"]) for event in cluster.stored("Event")] == [1024]


@pytest.mark.parametrize("verb", ["get", "create"])
async def test_an_event_that_cannot_be_recorded_is_logged(verb: str, caplog: pytest.LogCaptureFixture) -> None:
    """The status says the same, so nothing else is held up."""
    cluster = FakeCluster()
    cluster.refuse(verb, "Event", ClusterError("quota", status=403))
    await record(cluster, a_llama(), WRONG, StormLimit())
    assert "TokenRejected (put a valid token there) is not recorded: quota" in caplog.text


async def test_a_storm_is_cut_off_and_others_are_told_all_the_same() -> None:
    """What flaps may tell a burst, and then one a minute; another LlamaDeployment has a burst of its own."""
    now = [0.0]
    cluster, limit = FakeCluster(), StormLimit(clock=lambda: now[0])
    for number in range(3 * BURST):
        await record(cluster, a_llama(), Event(type="Warning", reason="Crashing", message=f"{number}"), limit)
    assert len(cluster.stored("Event")) == BURST
    other = a_llama()
    other["metadata"]["uid"] = "another"
    await record(cluster, other, WRONG, limit)
    assert len(cluster.stored("Event")) == BURST + 1
    now[0] += SECONDS
    for number in range(2):
        await record(cluster, a_llama(), Event(type="Warning", reason="Crashing", message=f"later {number}"), limit)
    assert len(cluster.stored("Event")) == BURST + 2
