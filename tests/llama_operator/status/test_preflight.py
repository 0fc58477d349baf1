"""What the status says of preflight: before anything is claimed, while it holds, and when nothing is left to check."""

from dataclasses import replace

import pytest

from llama_operator.plan.survey import HubRefusal
from llama_operator.status.report import report
from tests.support.operator_objects import (
    a_body,
    a_pod,
    a_spec,
    answers,
    condition,
    later,
    observed,
    plan,
    preflight,
    ready,
    report_on,
    rolled_out,
)
from tests.support.survey_objects import SURVEY

REJECTED = replace(SURVEY, model=HubRefusal(reason="TokenRejected", words="no"))
ASKING = replace(SURVEY, model=None)


def test_a_failing_check_is_said_before_anything_is_made() -> None:
    """Reason and fix in one condition; what comes later waits for it."""
    found = report_on(observed(), survey=REJECTED)
    assert answers(found) == {
        "Accepted": "True SpecValid",
        "PreflightPassed": "False TokenRejected",
        "PodsScheduled": "False Waiting",
        "ModelCached": "False Waiting",
        "ModelLoaded": "False Waiting",
        "Available": "False TokenRejected",
        "Progressing": "False Waiting",
        "Degraded": "True TokenRejected",
    }
    assert "does not accept the token in Secret hf-access-token" in condition(found, "PreflightPassed")["message"]
    assert found.status["phase"] == "Pending"
    assert [event.reason for event in found.events if event.type == "Warning"] == ["TokenRejected"]


def test_every_check_is_told_with_what_it_found() -> None:
    """Not the failing one alone: all can be mended at once."""
    found = report_on(observed(), survey=REJECTED)
    rows = {row["name"]: (row["state"], row["message"]) for row in found.status["preflight"]["checks"]}
    assert list(rows) == ["Model", "Node", "Quota", "Storage"]
    assert rows["Model"][0] == "failed"
    assert rows["Node"] == ("passed", "1 node could take a replica: node-1")


def test_while_the_hub_is_being_asked_nothing_is_wrong() -> None:
    """It takes a second: no warning, no degradation, and another look soon."""
    found = report_on(observed(), survey=ASKING)
    assert answers(found)["PreflightPassed"] == "False Checking"
    assert answers(found)["Degraded"] == "False AllWell"
    assert answers(found)["Available"] == "False Waiting"
    assert "PreflightPassed" in condition(found, "Available")["message"]
    assert [event.reason for event in found.events if event.type == "Warning"] == []
    assert found.requeue_after == 3.0


def test_a_deployment_without_replicas_is_asked_again_while_its_checks_are_made() -> None:
    """Scaled to nothing it still tells what would become of it."""
    assert report_on(observed(body=a_body(replicas=0)), survey=ASKING).requeue_after == 3.0


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 3.0), (5, 5.0), (600, 15.0)])
def test_what_fails_for_long_is_looked_at_less_often(minutes: float, seconds: float) -> None:
    """Somebody who has just applied it is mending it now; after hours it can take some seconds."""
    seen = observed()
    first = report_on(seen, survey=REJECTED)
    assert report_on(later(seen, first.status, minutes=minutes), survey=REJECTED).requeue_after == seconds


def test_how_soon_it_is_looked_at_again_is_a_setting() -> None:
    """But not for what the Hub is being asked, which answers within seconds."""
    seen = observed()
    for survey, seconds in ((REJECTED, [60.0, 120.0, 300.0]), (ASKING, [3.0, 3.0, 3.0])):
        found, status = preflight(seen, survey), report_on(seen, survey=survey).status
        for minutes, again in zip((0, 120, 9999), seconds, strict=True):
            now = later(seen, status, minutes=minutes) if minutes else seen
            told = report(a_spec(), now, plan(now, preflight=found), None, found, recheck_seconds=60.0)
            assert told.requeue_after == again


def test_what_runs_stays_available_while_an_edit_is_held() -> None:
    """The condition says what is wrong with the edit, and that it waits."""
    body = a_body(resources={"gpu": {"count": 1}})
    found = report_on(observed(ready(a_pod()), body=body, children=rolled_out()))
    assert answers(found)["PreflightPassed"] == "False ModelDoesNotFit"
    assert answers(found)["Available"] == "True Serving"
    assert answers(found)["Progressing"] == "False Waiting"
    assert found.status["phase"] == "Degraded"


def test_an_edit_that_is_taken_back_leaves_nothing_wrong() -> None:
    """Nothing is claimed any more, so that nothing is checked: what was wrong was wrong with the edit."""
    held = a_body(resources={"gpu": {"count": 1}})
    first = report_on(observed(ready(a_pod()), body=held, children=rolled_out()))
    back = a_body(status=first.status)
    back["metadata"]["generation"] = 4
    found = report_on(observed(ready(a_pod()), body=back, children=rolled_out()))
    assert answers(found)["PreflightPassed"] == "True ChecksPassed"
    assert answers(found)["Progressing"] == "False Settled"


def test_what_was_checked_is_still_said_once_it_runs() -> None:
    """With the numbers of then: they are what was claimed for."""
    first = report_on(observed())
    assert "needs 142.2 GiB" in condition(first, "PreflightPassed")["message"]
    second = report_on(observed(ready(a_pod()), body=a_body(status=first.status), children=rolled_out()))
    assert condition(second, "PreflightPassed") == condition(first, "PreflightPassed")
    assert second.status["preflight"] == first.status["preflight"]


def test_a_reason_of_a_newer_operator_is_not_repeated() -> None:
    """After a downgrade: it may mean anything."""
    first = report_on(observed()).status
    row = {**condition(report_on(observed()), "PreflightPassed"), "reason": "StarsAligned"}
    rows = [row if other["type"] == "PreflightPassed" else other for other in first["conditions"]]
    body = a_body(status={**first, "conditions": rows})
    found = report_on(observed(ready(a_pod()), body=body, children=rolled_out()))
    assert answers(found)["PreflightPassed"] == "True ChecksPassed"


def test_a_warning_tells_and_holds_nothing() -> None:
    """The condition is False, and nothing else is wrong for it."""
    found = report_on(observed(body=a_body(preflight={"mode": "warn"})), survey=REJECTED)
    assert answers(found)["PreflightPassed"] == "False TokenRejected"
    assert answers(found)["Degraded"] == "False AllWell"
    assert answers(found)["Available"] == "False Starting"
    assert [event.reason for event in found.events if event.type == "Warning"] == ["TokenRejected"]


def test_switched_off_it_says_so() -> None:
    """No check is listed."""
    found = report_on(observed(body=a_body(preflight={"mode": "off"})), survey=REJECTED)
    assert answers(found)["PreflightPassed"] == "True ChecksOff"
    assert "preflight" not in found.status
