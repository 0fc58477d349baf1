"""What moves when something changes, and that nothing moves when nothing does."""

from llama_operator.plan.observed import Object, Observed, Outcome, Ref
from tests.support.operator_objects import (
    a_body,
    a_pod,
    a_report,
    applied,
    condition,
    failing,
    later,
    observed,
    placed,
    ready,
    report_on,
    rolled_out,
    running,
    unschedulable,
    with_deployment,
)


def test_nothing_new_is_written_when_nothing_changed() -> None:
    """The same pods a minute later give the same bytes and no event, also while a failure is tried again."""
    quiet = observed(ready(a_pod()), children=rolled_out())
    failed = observed(running(a_pod()), children=applied(), startup={"llama-1": failing("TokenRejected")})
    stuck = observed(unschedulable(a_pod(), "0/1 nodes are available: 1 Insufficient cpu."), children=applied())
    for seen in (quiet, failed, stuck):
        first = report_on(seen)
        again = report_on(later(seen, first.status, startup=retried(seen)))
        assert again.status == first.status
        assert again.events == ()


def retried(seen: Observed) -> dict[str, Object]:
    """The same start-up reports one attempt later."""
    return {
        name: {**row, "error": {**row["error"], "attempt": 9, "retry_in_seconds": 60.0}}
        for name, row in seen.startup.items()
    }


def test_a_conditions_time_moves_only_with_its_status() -> None:
    """Another reason for the same answer is no transition."""
    seen = observed(children=applied())
    first = report_on(seen)
    second = report_on(later(seen, first.status, running(a_pod()), startup={"llama-1": failing("TokenRejected")}))
    third = report_on(later(seen, second.status, ready(a_pod()), minutes=2))
    times = [condition(found, "Available")["lastTransitionTime"] for found in (first, second, third)]
    assert times[0] == times[1] == "2026-11-24T08:10:00Z"
    assert times[2] == "2026-11-24T08:12:00Z"


def test_events_tell_the_story_once() -> None:
    """Each step forward and each new problem is one event."""
    told: list[tuple[str, str]] = []
    seen, status = observed(), {}
    steps: list[tuple[tuple[Object, ...], dict[str, Object]]] = [
        ((), {}),
        ((running(a_pod()),), {"llama-1": failing("TokenRejected")}),
        ((running(a_pod()),), {"llama-1": failing("TokenRejected", "other words")}),
        ((running(a_pod()),), {"llama-1": a_report("Download", bytes_done=1, bytes_total=4)}),
        ((running(a_pod()),), {"llama-1": a_report("Download", bytes_done=2, bytes_total=4)}),
        ((running(a_pod()),), {"llama-1": a_report("Load")}),
        ((ready(a_pod()),), {}),
    ]
    for pods, startup in steps:
        found = report_on(later(seen, status, *pods, startup=startup))
        status = found.status
        told += [(event.type, event.reason) for event in found.events]
    assert told == [
        ("Normal", "SpecValid"),
        ("Normal", "ChecksPassed"),
        ("Normal", "AllScheduled"),
        ("Warning", "TokenRejected"),
        ("Normal", "Downloading"),
        ("Normal", "Cached"),
        ("Normal", "Loading"),
        ("Normal", "Loaded"),
        ("Normal", "Serving"),
    ]


def test_a_lost_pod_is_told() -> None:
    """Available turning False is an event, with the reason."""
    seen = observed(ready(a_pod()), children=rolled_out())
    status = report_on(seen).status
    crashed = placed(a_pod(), {"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1}})
    found = report_on(later(seen, status, crashed))
    assert ("Warning", "Crashing") in [(event.type, event.reason) for event in found.events]


def test_a_rollout_is_told_once_when_it_begins() -> None:
    """The pods being counted on is no news."""
    status = report_on(observed(ready(a_pod()), children=rolled_out())).status
    told: list[str] = []
    for updated in (0, 1):
        counts = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": updated, "availableReplicas": 1}
        seen = observed(ready(a_pod()), body=a_body(status=status), children=with_deployment(counts))
        found = report_on(seen)
        status = found.status
        told += [event.reason for event in found.events]
    assert told == ["RollingOut"]


def test_what_was_done_to_the_objects_is_told() -> None:
    """`kubectl describe` says which objects there are, by kind and name."""
    service, claim = Ref("v1", "Service", "llama"), Ref("v1", "PersistentVolumeClaim", "llama-cache")
    found = report_on(observed(), Outcome(applied=(service, claim), pruned=(service,)))
    assert [(event.type, event.reason, event.message) for event in found.events[:2]] == [
        ("Normal", "Applied", "applied Service llama, PersistentVolumeClaim llama-cache"),
        ("Normal", "Pruned", "deleted Service llama, wanted no more"),
    ]
    assert "Applied" not in [event.reason for event in report_on(observed(), Outcome()).events]
