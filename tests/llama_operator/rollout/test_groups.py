"""Rollouts of replicas over several nodes: what fails, by whose doing, and the way back."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from llama_operator import names
from tests.support.groups import GroupWorld
from tests.support.operator_objects import NOW, a_pod, a_report, failing, placed, ready, report_on, running, stamp

CRASHED = {
    "restartCount": 2,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 2, "message": "no such option: --speed"}},
}
SECONDS = 600


def broken(**rollout: Any) -> GroupWorld:
    """One that served its first revision, and whose second is on its way and not ready."""
    world = GroupWorld(engine={"dtype": "float16"}, rollout={"progressDeadlineSeconds": SECONDS, **rollout})
    world.settle()
    world.edit(engine={"dtype": "float32"})
    world.step()
    world.starting(2, report=a_report("Load"))
    return world


def test_a_group_that_serves_is_noted_as_such() -> None:
    """And what is wanted next is another rollout."""
    world = broken()
    assert (world.running, world.outcomes()) == (2, {1: "Succeeded", 2: "Progressing"})
    world.complete()
    world.step()
    assert world.outcomes() == {1: "Succeeded", 2: "Succeeded"}


def test_a_group_that_fails_goes_back_by_itself_and_is_not_tried_again() -> None:
    """The LeaderWorkerSet has the template that served, and keeps it."""
    world = broken()
    before = world.children[world.workload]["spec"]["leaderWorkerTemplate"]
    world.starting(2, report=failing("UnsupportedArchitecture"))
    world.step()
    assert (world.running, world.outcomes()[2]) == (1, "RolledBack")
    assert world.children[world.workload]["spec"]["leaderWorkerTemplate"] != before
    world.complete()
    assert world.answers()["Degraded"] == "True RolledBack"
    assert world.step().apply == ()
    assert world.running == 1


@pytest.mark.parametrize(
    ("report", "state", "reason"),
    [(failing("LoadFailed"), None, "LoadFailed"), (None, CRASHED, "Crashing")],
    ids=["third load", "crash loop"],
)
def test_a_worker_that_fails_fails_the_rollout(report: Any, state: Any, reason: str) -> None:
    """Its leader only waits for it."""
    world = broken()
    pod = placed(a_pod("worker"), state["state"], state["lastState"]) if state else running(a_pod("worker"))
    pod["status"]["containerStatuses"][0]["restartCount"] = (state or {}).get("restartCount", 0)
    world.pods = (*world.pods, world.member(pod, 1))
    world.startup = {**world.startup, **({"worker": report} if report else {})}
    world.step()
    assert (world.running, world.report()["history"][0]["reason"]) == (1, reason)


def crashed(world: GroupWorld, *, made: float, at: float, index: int = 0, code: int = 2) -> dict[str, Any]:
    """A pod of a group, made and crashed at these minutes, as its controller takes the whole group away for it."""
    last = {
        "terminated": {"exitCode": code, "message": "no such option: --speed", "finishedAt": stamp(minutes_later(at))}
    }
    pod = placed(a_pod(f"pod-{index}", age_minutes=-made), {"terminated": {"exitCode": 143}}, last)
    pod["metadata"]["deletionTimestamp"] = stamp(minutes_later(at))
    pod["status"]["containerStatuses"][0]["restartCount"] = 1
    return world.member(pod, index)


def minutes_later(minutes: float) -> datetime:
    """A time after `NOW`."""
    return NOW + timedelta(minutes=minutes)


def see(world: GroupWorld, *pods: Any) -> None:
    """Look twice at these pods: what was counted is not counted again."""
    world.pods = pods
    world.step()
    world.step()


def test_a_group_that_crashes_again_and_again_fails_the_rollout() -> None:
    """Its controller makes all pods anew each time, so that none of them has crashed often."""
    world = broken(progressDeadlineSeconds=100 * SECONDS)
    see(world, crashed(world, made=1, at=2))
    see(world, crashed(world, made=2, at=3))
    assert (world.running, world.outcomes()[2]) == (2, "Progressing")
    see(world, crashed(world, made=3, at=4))
    row = world.report()["history"][0]
    assert (world.running, row["outcome"], row["reason"]) == (1, "RolledBack", "Crashing")
    assert 'its last words were "no such option: --speed"' in row["message"]
    assert "its group was made anew 2 times before" in row["message"]


def test_the_ranks_of_a_group_that_end_with_the_first_are_one_crash() -> None:
    """Its leader ends for its worker's sake; another group that crashes meanwhile is no sign of a loop either."""
    world = broken(progressDeadlineSeconds=100 * SECONDS)
    for minute in (1, 2):
        rows = [crashed(world, made=minute, at=minute + late, index=index) for index, late in ((1, 1), (0, 1.5))]
        see(world, *rows)
        see(world, *rows, crashed(world, made=minute + 0.5, at=minute + 2, index=2))
    assert (world.running, world.outcomes()[2]) == (2, "Progressing")


def test_a_group_that_is_stopped_has_not_crashed() -> None:
    """It ends at a signal, or with success, and nobody starts it again."""
    world = broken(progressDeadlineSeconds=100 * SECONDS)
    for minute in (1, 2, 3):
        stopped = crashed(world, made=minute, at=minute + 1)
        stopped["status"]["containerStatuses"][0]["lastState"] = {}
        see(world, stopped, crashed(world, made=minute, at=minute + 1, index=1, code=0))
    see(world, crashed(world, made=4, at=5))
    assert world.running == 2, "one crash is no loop"


def test_a_group_that_was_ready_meanwhile_begins_the_count_anew() -> None:
    """It serves, and crashes at times: the deadline is for that."""
    world = broken(progressDeadlineSeconds=100 * SECONDS)
    see(world, crashed(world, made=1, at=2))
    see(world, crashed(world, made=2, at=3))
    see(world, world.member(ready(a_pod("pod-0", age_minutes=-3)), 0))
    see(world, crashed(world, made=3, at=5))
    see(world, crashed(world, made=5, at=6))
    assert world.running == 2


def test_a_worker_that_has_joined_does_not_begin_the_count_anew() -> None:
    """It is ready then, and its leader crashes as it warms up, each time."""
    world = broken(progressDeadlineSeconds=100 * SECONDS)
    for minute in (1, 2, 3):
        worker = world.member(ready(a_pod("pod-1", age_minutes=-minute), after_seconds=30), 1)
        world.pods = (worker,)
        world.step()
        see(world, worker, crashed(world, made=minute, at=minute + 0.9))
    assert (world.running, world.outcomes()[2]) == (1, "RolledBack")


def test_a_group_that_is_never_ready_fails_at_its_deadline() -> None:
    """A LeaderWorkerSet watches none, and would be waited for for ever."""
    world = broken()
    world.minutes += SECONDS / 60 - 4
    world.step()
    assert (world.running, world.answers()["Progressing"]) == (2, "True RollingOut")
    world.minutes += 4
    world.step()
    row = world.report()["history"][0]
    assert (world.running, row["reason"]) == (1, "DeadlineExceeded")
    assert "0 of 1 groups of LeaderWorkerSet llama-nodes are of this template and ready" in row["message"]


def test_the_deadline_is_noticed_without_an_event() -> None:
    """Nothing changes in the cluster when time is up."""
    again = report_on(broken().shown()).requeue_after
    assert again is not None
    assert again <= 5


def test_a_first_rollout_out_of_time_is_told_and_stays() -> None:
    """There is nothing to go back to."""
    world = GroupWorld(rollout={"progressDeadlineSeconds": SECONDS})
    world.step()
    world.starting(1)
    world.minutes += 20
    world.step()
    assert (world.running, world.answers()["Progressing"]) == (1, "False DeadlineExceeded")


def test_a_group_that_becomes_ready_puts_the_deadline_off() -> None:
    """Groups are replaced one by one, and the deadline is for each step."""
    world = broken()
    world.minutes += 20
    new = world.member(ready(a_pod("first", age_minutes=-15), after_seconds=60), 0)
    world.pods = (*world.pods, new)
    world.step()
    assert world.running == 2
    world.minutes += 10
    world.step()
    assert world.running == 1


def test_a_group_that_is_made_anew_does_not_put_it_off() -> None:
    """One that crashes is made anew for ever."""
    world = broken()
    world.minutes += 20
    world.pods = (world.member(running(a_pod("new", age_minutes=-20)), 0),)
    world.step()
    assert world.running == 1


def test_a_pause_stops_the_clock_which_begins_anew_after_it() -> None:
    """From the write that ends it; until that, the set itself says that it is paused."""
    world = broken(paused=True)
    world.minutes += 60
    world.step()
    assert (world.running, world.answers()["Progressing"]) == (2, "False Paused")
    world.edit(rollout={"progressDeadlineSeconds": SECONDS})
    world.step()
    fields = {"manager": names.FIELD_MANAGER, "operation": "Apply", "time": stamp(world.seen().now)}
    world.children[world.workload]["metadata"]["managedFields"] = [fields]
    world.step()
    assert world.running == 2
    world.minutes += SECONDS / 60
    world.step()
    assert world.running == 1


def test_what_has_served_once_has_no_deadline() -> None:
    """That a group fails later is no rollout's doing."""
    world = GroupWorld(rollout={"progressDeadlineSeconds": SECONDS})
    world.settle()
    world.starting(1)
    world.minutes += 60
    assert world.answers()["Progressing"] != "False DeadlineExceeded"
