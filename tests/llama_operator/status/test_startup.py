"""The timeline from a created pod to an answering server."""

from collections.abc import Mapping
from typing import Any

import pytest

from llama_operator.plan.observed import Object, PreflightResult
from llama_operator.spec.status import LlamaDeploymentStatus, Startup
from llama_operator.status.startup import timeline
from tests.support.operator_objects import a_body, a_pod, a_report, observed, placed, ready, running

FRESH = LlamaDeploymentStatus()


def states(startup: Startup | None) -> list[str]:
    """Each stage's name and state."""
    return [f"{stage.name} {stage.state}" for stage in startup.stages] if startup else []


def at(*pods: Object, startup: Mapping[str, Object] | None = None, previous: Startup | None = None) -> Startup:
    """The timeline of these pods."""
    found = timeline(observed(*pods, startup=startup), LlamaDeploymentStatus(startup=previous), None)
    assert found is not None
    return found


def checking(
    result: PreflightResult | None, previous: LlamaDeploymentStatus = FRESH, *, minutes: float = 0, **metadata: Any
) -> Startup:
    """The timeline before there is a pod."""
    body = a_body()
    seen = observed(body={**body, "metadata": {**body["metadata"], **metadata}}, minutes=minutes)
    found = timeline(seen, previous, result)
    assert found is not None
    return found


def pulled(words: str, *, uid: str = "uid-of-pod", at: str = "2026-11-24T08:05:04Z") -> Object:
    """The kubelet's event about an image."""
    return {"reason": "Pulled", "involvedObject": {"kind": "Pod", "uid": uid}, "message": words, "firstTimestamp": at}


def with_uid(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod as the API server has it."""
    return {**pod, "metadata": {**pod["metadata"], "uid": "uid-of-pod"}}


def stage(startup: Startup, name: str) -> dict[str, Any]:
    """What the status shows of a stage."""
    (found,) = [row for row in startup.stages if row.name == name]
    return found.model_dump(by_alias=True, exclude_none=True)


def test_there_is_no_timeline_where_no_pod_is_wanted() -> None:
    """Nothing starts."""
    assert timeline(observed(), FRESH, None, wanted=False) is None


def test_checks_that_hold_are_the_first_stage() -> None:
    """It counts from the creation of the LlamaDeployment, and goes on for as long as they fail."""
    held = PreflightResult(passed=False, reason="TokenRejected", message="put a valid token there")
    first = checking(held, creationTimestamp="2026-11-24T08:09:50Z")
    assert states(first)[:2] == ["Preflight failed", "Scheduling pending"]
    assert stage(first, "Preflight")["started"] == "2026-11-24T08:09:50Z"
    later = checking(held, LlamaDeploymentStatus(observed_generation=3, startup=first), minutes=5)
    assert later == first


def test_asking_the_hub_is_no_failure() -> None:
    """It answers within seconds."""
    assert states(checking(PreflightResult(passed=False, reason="Checking")))[0] == "Preflight running"


def test_passed_checks_keep_their_time_while_pods_are_made() -> None:
    """However often one looks until the first pod is there, and when it is."""
    first = checking(PreflightResult(), creationTimestamp="2026-11-24T08:09:50Z")
    assert (first.stage, stage(first, "Preflight")["seconds"]) == ("Scheduling", 10.0)
    assert checking(None, LlamaDeploymentStatus(observed_generation=3, startup=first), minutes=1) == first
    assert stage(at(a_pod(age_minutes=0), previous=first), "Preflight")["seconds"] == 10.0


def test_checks_that_held_last_until_the_pod() -> None:
    """The last look before it may have been a while ago."""
    held = checking(PreflightResult(passed=False, reason="TokenRejected"), creationTimestamp="2026-11-24T08:02:00Z")
    assert stage(at(a_pod(), previous=held), "Preflight")["seconds"] == 180.0


def test_a_pod_of_a_later_rollout_does_not_take_over_the_first_checks() -> None:
    """That start is over; how long these took, nobody noted."""
    over = at(ready(a_pod("old")), previous=checking(PreflightResult(), creationTimestamp="2026-11-24T08:00:00Z"))
    assert stage(over, "Preflight")["seconds"] == 600.0
    assert stage(at(a_pod("new"), previous=over), "Preflight") == {"name": "Preflight", "state": "done"}


def test_a_pod_without_a_node_is_being_scheduled() -> None:
    """All stages are listed from the beginning."""
    assert states(at(a_pod())) == [
        "Preflight done",
        "Scheduling running",
        "ImagePull pending",
        "Start pending",
        "Resolve pending",
        "Download pending",
        "Load pending",
        "WarmUp pending",
        "Golden pending",
        "Ready pending",
    ]


def test_a_placed_pod_waits_for_its_image() -> None:
    """Until the kubelet says that it has it."""
    found = at(placed(a_pod()))
    assert found.stage == "ImagePull"
    assert stage(found, "Scheduling")["seconds"] == 1.0


def test_the_kubelets_event_tells_time_and_size_of_the_image() -> None:
    """It ended then, and began so much earlier; the rest until the server runs is Start."""
    words = 'Successfully pulled image "x:1" in 1.5s (1.9s including waiting). Image size: 3000 bytes.'
    others = (pulled(words, uid="another"), {"reason": "BackOff", "involvedObject": {"uid": "uid-of-pod"}})
    seen = observed(with_uid(placed(a_pod())), events=(*others, pulled(words)))
    found = timeline(seen, FRESH, None)
    assert found is not None
    assert found.stage == "Start"
    assert stage(found, "ImagePull") == {
        "name": "ImagePull",
        "state": "done",
        "started": "2026-11-24T08:05:02Z",
        "seconds": 1.5,
        "bytesDone": 3000,
        "bytesTotal": 3000,
        "bytesPerSecond": 2000,
    }


@pytest.mark.parametrize(
    ("took", "seconds"), [("250ms", 0.2), ("1m2.5s", 62.5), ("1h0m0s", 3600.0), ("already present", 0.0)]
)
def test_a_duration_of_the_kubelet_is_read(took: str, seconds: float) -> None:
    """As Go writes it; an image that was there took none, and moved no byte."""
    words = f'Successfully pulled image "x:1" in {took} (2s including waiting). Image size: 3000 bytes.'
    if "present" in took:
        words = 'Container image "x:1" already present on machine'
    found = timeline(observed(with_uid(placed(a_pod())), events=(pulled(words),)), FRESH, None)
    assert found is not None
    assert stage(found, "ImagePull")["seconds"] == seconds
    assert ("bytesDone" in stage(found, "ImagePull")) == (seconds > 0)


def test_an_event_that_comes_after_the_container_is_still_taken_up() -> None:
    """Kubelets write events when they find the time."""
    pod = with_uid(running(a_pod()))
    before = timeline(observed(pod), FRESH, None)
    assert before is not None
    assert "seconds" not in stage(before, "ImagePull")
    event = pulled('Container image "x:1" already present on machine')
    found = timeline(observed(pod, events=(event,)), LlamaDeploymentStatus(startup=before), None)
    assert found is not None
    assert stage(found, "ImagePull")["seconds"] == 0.0


def test_what_was_known_of_the_image_outlives_its_event() -> None:
    """Events are gone within the hour, and are not read of a pod that is ready."""
    pod = a_pod(age_minutes=5)
    event = pulled('Container image "x:1" already present on machine')
    before = timeline(observed(with_uid(running(pod)), events=(event,)), FRESH, None)
    assert before is not None
    found = at(with_uid(ready(pod, after_seconds=25)), previous=before)
    assert stage(found, "ImagePull") == stage(before, "ImagePull")
    assert stage(found, "ImagePull")["seconds"] == 0.0


@pytest.mark.parametrize("name", ["Download", "Load"])
def test_the_server_reports_the_rest(name: str) -> None:
    """Done stages have their time, the running one its start and what is left."""
    pods = running(a_pod())
    found = at(pods, startup={"llama-1": a_report(name, bytes_done=5, bytes_total=10, eta_seconds=7260)})
    assert (found.stage, found.eta) == (name, "2h01m")
    assert stage(found, "Start")["seconds"] == 2.0
    assert stage(found, "Resolve")["seconds"] == 1.2
    assert stage(found, name) == {
        "name": name,
        "state": "running",
        "started": "2026-11-24T08:05:10Z",
        "bytesDone": 5,
        "bytesTotal": 10,
        "etaSeconds": 7260,
    }


def test_the_time_left_is_not_more_exact_than_it_is_known() -> None:
    """Seconds in fives, then whole minutes."""
    for seconds, shown in ((0.4, "5s"), (42, "45s"), (61, "2m"), (3599, "1h00m")):
        assert at(running(a_pod()), startup={"llama-1": a_report("Load", eta_seconds=seconds)}).eta == shown


def test_the_least_advanced_pod_is_followed() -> None:
    """It decides when all is there."""
    reports = {"a": a_report("Load"), "b": a_report("Download", bytes_done=9), "c": a_report("Download", bytes_done=2)}
    pods = [running(a_pod(name)) for name in reports]
    assert at(ready(a_pod("d")), *pods, startup=reports).pod_name == "c"


def test_a_ready_pod_completes_its_timeline() -> None:
    """The last stages may pass between two looks; the whole is known from the pod."""
    before = at(running(a_pod()), startup={"llama-1": a_report("Load")})
    found = at(ready(a_pod(), after_seconds=25), previous=before)
    assert all(state.endswith(" done") for state in states(found))
    assert (found.seconds, found.stage, found.eta) == (25.0, None, None)
    assert stage(found, "Load")["seconds"] == 15.0
    assert "seconds" not in stage(found, "WarmUp")


def test_a_pod_that_is_silent_for_once_keeps_what_it_told() -> None:
    """It may be busy, or about to end; of one that has to start anew nothing of that holds."""
    told = a_report("Download", bytes_done=5, bytes_total=10)
    before = at(running(a_pod()), startup={"llama-1": told})
    assert at(running(a_pod()), previous=before) == before
    done = placed(a_pod(), {"terminated": {"exitCode": 0}})
    assert stage(at(done, previous=before), "Download")["bytesDone"] == 5
    crashed = placed(a_pod(), {"waiting": {"reason": "CrashLoopBackOff"}})
    assert "bytesDone" not in stage(at(crashed, previous=before), "Download")


def test_what_a_ready_pod_still_tells_is_taken_up() -> None:
    """Stages that passed between two looks have their time too."""
    told = a_report("Golden")
    told["stages"][4] |= {"state": "done", "seconds": 0.0}
    before = at(running(a_pod()), startup={"llama-1": a_report("Load")})
    found = at(ready(a_pod(), after_seconds=25), previous=before, startup={"llama-1": told})
    assert all("seconds" in stage(found, name) for name in ("Load", "WarmUp", "Golden", "Ready"))


def test_a_finished_timeline_stays() -> None:
    """A readiness that comes and goes later is no start-up."""
    before = at(running(a_pod()), startup={"llama-1": a_report("WarmUp")})
    finished = at(ready(a_pod(), after_seconds=25), previous=before)
    assert at(ready(a_pod(), after_seconds=900), ready(a_pod("other")), previous=finished) == finished


def test_a_ready_pod_that_nobody_followed_has_its_own_stages() -> None:
    """The operator may have come later than the pod."""
    found = at(ready(a_pod(), after_seconds=25))
    assert states(found) == [f"{name} done" for name in ("Preflight", "Scheduling", "ImagePull", "Start", "Ready")]
    assert found.seconds == 25.0


def test_readiness_counts_from_the_servers_last_stage() -> None:
    """The kubelet and the Service take their moment."""
    report = a_report("Golden")
    report["stages"][4] |= {"state": "done", "seconds": 12.0}
    before = at(running(a_pod()), startup={"llama-1": report})
    assert before.stage == "Ready"
    found = at(ready(a_pod(), after_seconds=25), previous=before)
    assert stage(found, "Ready") == {
        "name": "Ready",
        "state": "done",
        "started": "2026-11-24T08:05:22Z",
        "seconds": 3.0,
    }


def test_a_failed_stage_is_shown_as_such() -> None:
    """It stays the stage under way."""
    report = a_report("Download")
    report["stages"][1]["state"] = "failed"
    assert at(running(a_pod()), startup={"llama-1": report}).stage == "Download"
