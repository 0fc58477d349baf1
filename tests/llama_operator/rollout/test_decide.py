"""Which rollout the pods have: the spec's; the last good one once it has failed; the one that a person names."""

from typing import Any

import pytest

from llama_operator.plan.observed import PreflightResult
from llama_operator.plan.settings import PlanSettings
from tests.support.operator_objects import NOW, a_report, failing, plan, stamp
from tests.support.rollouts import DEPLOYMENT, World

GOLDEN = a_report("WarmUp", error={"reason": "GoldenPromptFailed", "message": "France: 'x' is not 'Paris'"})
CRASHED = {
    "restartCount": 2,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 2, "message": "no such option: --speed"}},
}
BAD = {"dtype": "float32"}


def served(**spec: Any) -> World:
    """A LlamaDeployment that serves its first revision."""
    world = World(engine={"dtype": "float16"}, **spec)
    world.settle()
    return world


def broken(**spec: Any) -> World:
    """One whose second revision has failed, which nobody has looked at yet."""
    world = served(**spec)
    world.edit(engine=BAD)
    world.step()
    world.starting(2, report=GOLDEN)
    return world


def test_each_rollout_is_noted_with_what_became_of_it() -> None:
    """The first, then each that changes pods; what changes none is none."""
    world = served()
    assert world.outcomes() == {1: "Succeeded"}
    world.edit(replicas=2, service={"port": 81})
    world.settle()
    world.edit(engine=BAD)
    world.step()
    assert world.outcomes() == {1: "Succeeded", 2: "Progressing"}
    world.complete()
    world.step()
    assert (world.outcomes(), world.running) == ({1: "Succeeded", 2: "Succeeded"}, 2)


def test_a_rollout_that_serves_is_not_gone_back_on() -> None:
    """A pod that fails later, a node that goes, is no reason to change what runs."""
    world = served()
    world.edit(engine=BAD)
    world.settle()
    world.starting(2, report=GOLDEN)
    world.step()
    assert (world.running, world.outcomes()[2]) == (2, "Succeeded")


def test_a_failed_rollout_goes_back_by_itself() -> None:
    """To the very template that served, with the reason kept and told."""
    world = broken()
    world.step()
    assert (world.running, world.dtype) == (1, "float16")
    world.complete()
    newest = world.report()["history"][0]
    assert (newest["outcome"], newest["reason"]) == ("RolledBack", "GoldenPromptFailed")
    assert "'x' is not 'Paris'" in newest["message"]
    assert newest["changes"] == [{"path": "spec.engine.dtype", "old": "float16", "new": "float32"}]
    assert world.answers()["Degraded"] == "True RolledBack"


def test_the_way_back_is_taken_as_the_way_there_was() -> None:
    """Whether a new pod comes first was decided when the rollout began; the GPUs that are free now may be its own."""
    world = broken()
    limits = {"maxSurge": 0, "maxUnavailable": 1}
    world.children[DEPLOYMENT]["spec"]["strategy"]["rollingUpdate"] = limits
    world.step()
    assert world.running == 1
    assert world.children[DEPLOYMENT]["spec"]["strategy"]["rollingUpdate"] == limits


def test_what_failed_is_not_tried_again_as_it_is() -> None:
    """Whatever else changes, over restarts and upgrades of the operator: only another spec for pods is tried."""
    world = broken()
    world.step()
    world.complete()
    world.edit(replicas=3, service={"port": 81})
    world.step()
    world.step(settings=PlanSettings(inference_image="llama-inference:2"))
    assert (world.running, world.dtype, world.outcomes()) == (1, "float16", {1: "Succeeded", 2: "RolledBack"})
    world.edit(engine={"dtype": "bfloat16"})
    world.settle()
    assert (world.running, world.dtype, world.outcomes()[3]) == (3, "bfloat16", "Succeeded")
    assert world.answers()["Degraded"] == "False AllWell"


def test_the_old_spec_again_mends_it_without_a_restart() -> None:
    """The pods have that template already; the next try of the other is a new one."""
    world = broken()
    world.step()
    world.complete()
    template = world.children[DEPLOYMENT]["spec"]["template"]
    world.edit(engine={"dtype": "float16"})
    world.settle()
    assert world.children[DEPLOYMENT]["spec"]["template"] == template
    assert (world.running, world.answers()["Degraded"]) == (3, "False AllWell")
    world.edit(engine=BAD)
    world.step()
    assert (world.running, world.dtype, world.outcomes()[4]) == (4, "float32", "Progressing")


def test_without_anything_that_served_there_is_no_way_back() -> None:
    """The first rollout fails where it is: its conditions say why."""
    world = World()
    world.step()
    world.starting(1, report=GOLDEN)
    world.step()
    assert (world.running, world.outcomes()) == (1, {1: "Progressing"})
    assert world.answers()["Degraded"] == "True GoldenPromptFailed"


@pytest.mark.parametrize("rollout", [{"autoRollback": False}, {"paused": True}])
def test_going_back_can_be_left_to_a_person(rollout: dict[str, bool]) -> None:
    """Switched off, or held."""
    world = broken(rollout=rollout)
    world.step()
    assert (world.running, world.outcomes()[2]) == (2, "Progressing")


def test_switching_it_off_tries_again() -> None:
    """Whoever says so wants the spec as it is."""
    world = broken()
    world.step()
    world.edit(rollout={"autoRollback": False})
    world.step()
    assert (world.running, world.dtype, world.outcomes()[3]) == (3, "float32", "Progressing")


def test_a_way_back_is_not_held_up_by_checks() -> None:
    """The Hub may be away; what served needs nothing of it."""
    world = broken()
    failed = PreflightResult(passed=False, reason="HubUnreachable", message="the Hub does not answer")
    found = world.step(preflight=failed)
    assert (found.claims, world.running) == (False, 1)


def test_what_a_check_holds_up_is_no_rollout() -> None:
    """It is noted only when it begins."""
    world = served()
    world.edit(engine=BAD)
    world.step(preflight=PreflightResult(passed=False, reason="HubUnreachable", message="the Hub does not answer"))
    assert (world.running, world.outcomes()) == (1, {1: "Succeeded"})


def test_a_person_goes_back_with_one_field_and_forth_without_it() -> None:
    """Whatever else the spec says meanwhile; then the spec is rolled out anew."""
    world = served()
    world.edit(engine=BAD)
    world.settle()
    world.edit(rollout={"rollbackTo": 1})
    world.settle()
    assert (world.running, world.dtype) == (1, "float16")
    settled = next(row for row in world.report()["conditions"] if row["type"] == "Progressing")
    assert "revision 1, as spec.rollout.rollbackTo asks" in settled["message"]
    world.edit(rollout={})
    world.step()
    assert (world.running, world.dtype, world.outcomes()[3]) == (3, "float32", "Progressing")


def test_a_revision_that_is_not_there_changes_nothing() -> None:
    """And is named, with those that are."""
    world = served()
    world.edit(engine=BAD, rollout={"rollbackTo": 7})
    world.step()
    assert (world.running, world.dtype) == (1, "float16")
    accepted = next(row for row in world.report()["conditions"] if row["type"] == "Accepted")
    assert accepted["reason"] == "NoSuchRevision"
    assert "revision 7, and there are 1:" in accepted["message"]


def test_an_upgrade_of_the_operator_begins_no_rollout() -> None:
    """Another default image alone is none, and what runs keeps its number."""
    world = served()
    found = world.step(settings=PlanSettings(inference_image="llama-inference:2"))
    assert (found.apply, world.outcomes()) == ((), {1: "Succeeded"})


@pytest.mark.parametrize("done", range(3))
def test_a_process_that_dies_in_between_repeats_what_is_missing(done: int) -> None:
    """However much of a plan was carried out, the next look ends where the first would have: once."""
    world = served()
    world.edit(engine=BAD)
    for obj in world_plan(world)[:done]:
        world.carry_out(obj)
    world.step()
    assert (world.running, world.outcomes()) == (2, {1: "Succeeded", 2: "Progressing"})
    world.starting(2, report=GOLDEN)
    for obj in world_plan(world)[:done]:
        world.carry_out(obj)
    world.step()
    assert (world.running, world.outcomes()) == (1, {1: "Succeeded", 2: "RolledBack"})


def world_plan(world: World) -> Any:
    """What the next step would apply."""
    return plan(world.seen()).apply


def test_another_edit_takes_the_place_of_one_under_way() -> None:
    """The one before was never judged."""
    world = served()
    for dtype in ("float32", "bfloat16"):
        world.edit(engine={"dtype": dtype})
        world.step()
    assert world.outcomes() == {1: "Succeeded", 2: "Superseded", 3: "Progressing"}


def test_a_bounded_number_is_kept_and_always_one_that_served() -> None:
    """Edits that never settle do not push out the way back."""
    world = served()
    for number in range(12):
        world.edit(engine={"maxContextTokens": 100 + number})
        world.step()
    assert [*world.outcomes()] == [1, *range(4, 14)]
    world.starting(13, report=failing("UnsupportedArchitecture"))
    world.step()
    assert world.running == 1


@pytest.mark.parametrize(
    ("report", "state", "reason"),
    [
        (GOLDEN, None, "GoldenPromptFailed"),
        (None, CRASHED, "Crashing"),
        (failing("UnsupportedArchitecture"), None, "UnsupportedArchitecture"),
        (failing("RevisionNotFound"), None, "RevisionNotFound"),
        (failing("LoadFailed"), None, "LoadFailed"),
    ],
    ids=["golden", "crash loop", "architecture", "revision", "third load"],
)
def test_what_waiting_does_not_mend_has_failed(report: Any, state: Any, reason: str) -> None:
    """Each is a reason to go back at once."""
    world = broken()
    world.starting(2, report=report, state=state)
    world.step()
    assert (world.running, world.report()["history"][0]["reason"]) == (1, reason)


@pytest.mark.parametrize(
    ("report", "state"),
    [
        (failing("TokenRejected"), None),
        (failing("DiskFull"), None),
        (a_report("Load", error={"reason": "LoadFailed", "message": "busy", "attempt": 2}), None),
        (None, {**CRASHED, "restartCount": 1}),
        (None, {**CRASHED, "state": {"running": {"startedAt": "2026-11-24T08:05:10Z"}}}),
        (a_report("Load"), None),
    ],
    ids=["token", "disk", "second load", "second crash", "third start", "loading"],
)
def test_what_may_still_be_mended_is_waited_for(report: Any, state: Any) -> None:
    """A person, another start, or time may mend it."""
    world = broken()
    world.starting(2, report=report, state=state)
    world.step()
    assert (world.running, world.outcomes()[2]) == (2, "Progressing")


def test_an_engine_beside_the_server_that_crashes_again_and_again_has_failed() -> None:
    """The server itself runs, and would wait for it for ever."""
    world = broken()
    world.starting(2)
    (pod,) = world.pods
    world.pods = ({**pod, "status": {**pod["status"], "initContainerStatuses": [{"name": "tgi", **CRASHED}]}},)
    world.step()
    row = world.report()["history"][0]
    assert (world.running, row["reason"]) == (1, "Crashing")
    assert "container tgi in pod new" in row["message"]


def test_pods_of_another_rollout_do_not_count() -> None:
    """An old pod that fails says nothing of the new template."""
    world = broken()
    world.starting(1, report=GOLDEN)
    world.step()
    assert (world.running, world.outcomes()[2]) == (2, "Progressing")


def deadline(world: World, **fields: Any) -> None:
    """Let the Deployment's controller give the rollout up."""
    words = {"reason": "ProgressDeadlineExceeded", "message": 'ReplicaSet "llama-5" has timed out progressing.'}
    world.starting(2)
    world.status(replicas=2, conditions=[{"type": "Progressing", "status": "False", **words}], **fields)


def test_the_progress_deadline_is_a_failure() -> None:
    """Whatever it is that does not come."""
    world = broken(rollout={"progressDeadlineSeconds": 60})
    deadline(world)
    world.step()
    assert (world.running, world.report()["history"][0]["reason"]) == (1, "DeadlineExceeded")


@pytest.mark.parametrize(
    ("report", "running"),
    [
        pytest.param(a_report("Download", idle_seconds=3.0, bytes_done=7), 2, id="bytes-come"),
        pytest.param(a_report("Download", idle_seconds=421.0, bytes_done=7), 1, id="no-byte-for-longer"),
        pytest.param(a_report("Load", started=stamp(NOW)), 2, id="the-next-stage-has-begun"),
        pytest.param(a_report("Load"), 1, id="a-stage-takes-longer"),
        pytest.param(failing("TokenRejected"), 1, id="tried-again-and-again"),
    ],
)
def test_a_download_that_goes_on_is_progress(report: dict[str, Any], running: int) -> None:
    """Weights may take hours, which no controller of pods can see; what stands still has its deadline."""
    world = broken(rollout={"progressDeadlineSeconds": 420})
    deadline(world)
    world.startup = {"new": report}
    world.step()
    assert world.running == running


def test_a_deadline_of_the_rollout_before_is_none_of_this_one() -> None:
    """Until the controller has seen the present template, its words are of the last."""
    world = broken()
    deadline(world)
    world.children[DEPLOYMENT]["metadata"]["generation"] += 1
    world.step()
    assert (world.running, world.outcomes()[2]) == (2, "Progressing")
