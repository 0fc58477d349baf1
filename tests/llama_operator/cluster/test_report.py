"""Writing a report: once, over nothing newer, events only for what was written."""

import pytest

from llama_operator.cluster.report import write
from llama_operator.cluster.storms import StormLimit
from llama_operator.errors import ClusterError
from llama_operator.plan.observed import Event, Report
from tests.support.fake_cluster import FakeCluster
from tests.support.operator_objects import a_body, observed

READY = Event(type="Normal", reason="Serving", message="predict requests are answered")


async def test_a_status_is_written_once() -> None:
    """The same status again is no request at all."""
    cluster = FakeCluster()
    report = Report(status={"phase": "Ready"})
    await write(cluster, observed(body=cluster.put(a_body())), report, StormLimit())
    (stored,) = cluster.stored("LlamaDeployment")
    assert stored["status"] == {"phase": "Ready"}
    await write(cluster, observed(body=stored), report, StormLimit())
    assert [call.verb for call in cluster.calls] == ["replace"]


async def test_a_status_about_an_older_spec_is_not_written() -> None:
    """Nor are its events recorded; the next look writes both."""
    cluster = FakeCluster()
    seen = observed(body=cluster.put(a_body()))
    cluster.put(a_body(replicas=2))
    with pytest.raises(ClusterError) as refused:
        await write(cluster, seen, Report(status={"phase": "Ready"}, events=(READY,)), StormLimit())
    assert refused.value.status == 409
    assert cluster.stored("Event") == []


async def test_the_spec_stays_as_the_user_wrote_it() -> None:
    """Only the status is replaced, and then the events are recorded."""
    cluster = FakeCluster()
    seen = observed(body=cluster.put(a_body(replicas=2)))
    await write(cluster, seen, Report(status={"phase": "Ready"}, events=(READY,)), StormLimit())
    (stored,) = cluster.stored("LlamaDeployment")
    assert stored["spec"] == seen.body["spec"]
    assert [(call.verb, call.kind) for call in cluster.writes] == [("replace", "LlamaDeployment"), ("create", "Event")]


async def test_a_status_that_nobody_is_left_to_read_is_no_failure() -> None:
    """It was deleted while it was worked on: no event is recorded on what is gone."""
    cluster = FakeCluster()
    seen = observed(body=cluster.put(a_body()))
    cluster.remove("LlamaDeployment", seen.key.namespace, seen.key.name)
    assert not await write(cluster, seen, Report(status={"phase": "Ready"}, events=(READY,)), StormLimit())
    assert cluster.stored("Event") == []


async def test_a_status_that_is_not_found_though_it_is_there_is_a_failure() -> None:
    """As with a resource definition that has lost its status."""
    cluster = FakeCluster()
    seen = observed(body=cluster.put(a_body()))
    cluster.refuse("replace", "LlamaDeployment", ClusterError("not found", status=404))
    with pytest.raises(ClusterError, match="not found"):
        await write(cluster, seen, Report(status={"phase": "Ready"}), StormLimit())
