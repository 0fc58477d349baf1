"""What fails or flaps again and again: it is told, but neither in storms nor at the cost of others."""

import time
from typing import Any

import pytest

from llama_operator.cluster.storms import BURST, SECONDS
from tests.integration.operator_process import OperatorProcess
from tests.integration.proxy import ApiProxy
from tests.integration.test_reconciling import quiet, settled
from tests.support.cluster import LLAMA, Namespace, a_llama, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def test_a_poisoned_one_starves_nobody(space: Namespace, api: ApiProxy, operator: OperatorProcess) -> None:
    """It is tried with growing pauses while others are served, is counted and named, and recovers without the cause."""
    key, errors = f"{space.name}/poisoned", 'llama_operator_reconcile_errors_total{reason="server_error"}'
    before = operator.metric(errors)
    api.fails = lambda request: request.writes and "/services/poisoned" in request.path and space.name in request.path
    try:
        space.apply(a_llama("poisoned", replicas=0))
        eventually("it has failed", lambda: len(api.writes(space.name, "/services/poisoned")) >= 2)
        space.apply(a_llama("healthy", replicas=0))
        space.condition("healthy", "Progressing", "False Stopped")
        assert "status" not in space.there(LLAMA, "poisoned")
        quiet(api, space, renewals=2)
        assert len(api.writes(space.name, "/services/poisoned")) <= 8
    finally:
        api.fails = lambda _: False
    eventually("its failures are counted", lambda: operator.metric(errors) > before)
    failed = [row for row in operator.records if "the test wants it to fail" in row["message"]]
    assert {(row.get("key"), row["level"]) for row in failed} == {(key, "warning")}
    space.condition("poisoned", "Progressing", "False Stopped")


def told(space: Namespace, uid: str) -> dict[str, dict[str, Any]]:
    """The events about a LlamaDeployment, by name."""
    events = space.list("events", fields=f"involvedObject.uid={uid}")
    return {event["metadata"]["name"]: event for event in events}


def counts(space: Namespace, uid: str, reason: str) -> list[int]:
    """How often each event of this reason was told."""
    return [event["count"] for event in told(space, uid).values() if event["reason"] == reason]


def flap(space: Namespace) -> None:
    """Make the spec one that cannot be merged, and good again; each is seen."""
    space.patch(LLAMA, "llama", {"spec": {"podTemplate": {"spec": {"volumes": [{"emptyDir": {}}]}}}})
    space.condition("llama", "Accepted", "False InvalidSpec")
    space.patch(LLAMA, "llama", {"spec": {"podTemplate": None}})
    space.condition("llama", "Accepted", "True SpecValid")


def test_what_flaps_counts_up_and_makes_no_storm(space: Namespace, operator: OperatorProcess) -> None:
    """The same event again is the same object with a higher count; after a burst of them there are no more writes."""
    begun = time.monotonic()
    uid = settled(space)["metadata"]["uid"]
    for times in (1, 2):
        flap(space)
        eventually("it is told again", lambda times=times: counts(space, uid, "InvalidSpec") == [times])
        eventually("and its end", lambda times=times: counts(space, uid, "SpecValid") == [times + 1])
    known = {name: event["metadata"]["uid"] for name, event in told(space, uid).items()}
    for _ in range(BURST // 2):
        flap(space)
    too_many = "is not recorded: there were many just now"
    about = f"{space.name}/llama"
    eventually(
        "the rest is logged alone",
        lambda: any(too_many in row["message"] for row in operator.records if row.get("key") == about),
    )
    events = told(space, uid)
    assert {name: event["metadata"]["uid"] for name, event in events.items()} == known
    assert sum(event["count"] for event in events.values()) <= BURST + (time.monotonic() - begun) / SECONDS
    assert counts(space, uid, "InvalidSpec")[0] > 2
