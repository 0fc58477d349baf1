"""A gateway's decisions: who goes through, what it does next, what callers are told."""

import math
from dataclasses import replace

import pytest

from llama_operator.gateway import decide
from llama_operator.gateway.decide import Admission, Limits, Mind, State, Step
from llama_operator.plan.activity import Activity, Pods

LIMITS = Limits(idle_seconds=100, hold_seconds=30, max_held=3)
NOW = 1000.0


def says(pods: Pods = Pods.AWAKE, *, wanted: bool = True, version: str = "1", took: float | None = None) -> Activity:
    """What the Lease says."""
    return Activity(version=version, wanted=wanted, pods=pods, startup_seconds=took)


ASLEEP = Mind(known=says(Pods.ASLEEP, wanted=False), read_at=NOW, changed_at=0)
AWAKE = Mind(
    known=says(),
    read_at=NOW,
    changed_at=0,
    renewed_at=NOW - 10,
    said_at=NOW - 10,
    active_at=NOW - 20,
    answering_since=0,
)
QUIET = replace(AWAKE, renewed_at=NOW - 90, said_at=NOW - 90, active_at=NOW - 99)


def admitted(mind: Mind, *, queued: int = 0) -> Admission:
    """What becomes of a request."""
    return decide.admit(mind, NOW, LIMITS, queued=queued)


def steps(mind: Mind) -> tuple[Step, float]:
    """What is done next, in how many seconds."""
    step, at = decide.next_step(mind, NOW, LIMITS)
    return step, at - NOW


@pytest.mark.parametrize(
    ("mind", "state", "admission"),
    [
        (ASLEEP, State.ASLEEP, Admission.HOLD),
        (replace(ASLEEP, held=1), State.WAKING, Admission.HOLD),
        (replace(AWAKE, answering_since=None), State.WAKING, Admission.HOLD),
        (AWAKE, State.AWAKE, Admission.FORWARD),
        (QUIET, State.IDLE, Admission.HOLD),
        (Mind(), State.ASLEEP, Admission.HOLD),
        (replace(ASLEEP, held=3), State.WAKING, Admission.FULL),
        (Mind(known=says(Pods.STOPPED)), State.ASLEEP, Admission.STOPPED),
    ],
    ids=["asleep", "waking", "no pod yet", "awake", "right lapsed", "nothing known", "full", "stopped"],
)
def test_a_request_goes_through_where_pods_are_sure_to_stay(mind: Mind, state: State, admission: Admission) -> None:
    """Elsewhere it waits, as far as there is room."""
    assert (decide.state(mind, NOW, LIMITS), admitted(mind)) == (state, admission)


def test_a_request_does_not_overtake_those_that_waited() -> None:
    """It joins them."""
    assert admitted(AWAKE, queued=1) is Admission.HOLD


def test_without_a_time_to_hold_every_caller_is_told_when_to_come_again() -> None:
    """HoldSeconds 0 holds nobody."""
    assert decide.admit(ASLEEP, NOW, replace(LIMITS, hold_seconds=0), queued=0) is Admission.FULL


@pytest.mark.parametrize(
    ("mind", "step"),
    [
        (Mind(), (Step.READ, 0)),
        (ASLEEP, (Step.WAIT, 25)),
        (replace(ASLEEP, held=1, active_at=NOW), (Step.RENEW, 0)),
        (replace(ASLEEP, known=says(Pods.ASLEEP), held=1, active_at=NOW), (Step.WAIT, decide.SOON)),
        (replace(ASLEEP, known=says(Pods.ASLEEP), active_at=NOW), (Step.WAIT, decide.WATCH)),
        (replace(AWAKE, held=1, answering_since=None, knocked_at=NOW - 1), (Step.KNOCK, 0)),
        (replace(AWAKE, held=1, answering_since=None, knocked_at=NOW), (Step.WAIT, decide.SOON)),
        (replace(AWAKE, answering_since=None, knocked_at=NOW), (Step.WAIT, decide.WATCH)),
        (replace(AWAKE, in_flight=1), (Step.WAIT, 15)),
        (replace(AWAKE, in_flight=1, renewed_at=NOW - 25), (Step.RENEW, 0)),
        (replace(AWAKE, active_at=NOW - 1), (Step.WAIT, 15)),
        (replace(AWAKE, active_at=NOW - 1, renewed_at=NOW - 25), (Step.RENEW, 0)),
        (AWAKE, (Step.WAIT, 25)),
        (QUIET, (Step.WAIT, 1)),
        (replace(QUIET, active_at=NOW - 100), (Step.SLEEP, 0)),
        (decide.renewed(replace(QUIET, active_at=NOW - 100), says(wanted=False), NOW, NOW), (Step.WAIT, 25)),
        (replace(QUIET, active_at=NOW - 100, read_at=NOW - 25), (Step.READ, 0)),
        (replace(QUIET, active_at=NOW - 100, changed_at=NOW - 50), (Step.WAIT, 25)),
        (replace(QUIET, active_at=NOW - 100, answering_since=NOW - 50), (Step.WAIT, 25)),
        (replace(QUIET, active_at=NOW - 100, answering_since=None, knocked_at=NOW), (Step.WAIT, decide.WATCH)),
        (Mind(known=says(Pods.STOPPED), read_at=NOW - 1, active_at=NOW), (Step.WAIT, decide.WATCH - 1)),
        (Mind(blind=True, failed_at=NOW, knocked_at=NOW), (Step.WAIT, decide.AGAIN)),
        (replace(AWAKE, blind=True, failed_at=NOW - decide.AGAIN), (Step.READ, 0)),
    ],
    ids=[
        "nothing known",
        "asleep, and nobody asks",
        "somebody asks",
        "somebody waits for the operator",
        "somebody asked and gave up",
        "somebody waits for a pod",
        "and has just knocked",
        "nobody waits for the pod that starts",
        "a request is in flight",
        "and the right must be renewed",
        "a request came and went",
        "and is yet to be told of",
        "awake, and nobody asks",
        "quiet for almost long enough",
        "quiet for long enough",
        "and has said so",
        "but not looked for long",
        "but another gateway had a sign of life",
        "but answering only since",
        "but not yet started",
        "stopped",
        "no API server",
        "no API server a while ago",
    ],
)
def test_what_is_done_next(mind: Mind, step: tuple[Step, float]) -> None:
    """Each step follows from what is known, and none is hurried."""
    assert steps(mind) == step


def test_a_running_model_is_served_while_the_api_server_is_away() -> None:
    """Though the right to it cannot be renewed."""
    assert admitted(replace(QUIET, blind=True)) is Admission.FORWARD
    assert admitted(replace(QUIET, blind=True, known=says(wanted=False))) is Admission.HOLD
    assert admitted(replace(ASLEEP, blind=True)) is Admission.HOLD
    assert admitted(Mind(blind=True, answering_since=0)) is Admission.FORWARD


@pytest.mark.parametrize(
    ("took", "waited", "told"),
    [(90.0, None, 90), (90.2, None, 91), (90.0, 60, 30), (90.0, 89, 5), (90.0, 500, 5), (None, None, 60)],
)
def test_callers_come_again_when_the_start_is_over(took: float | None, waited: float | None, told: int) -> None:
    """It takes as long as the last one did, of which some is over; one that takes longer is asked after soon."""
    since = None if waited is None else NOW - waited
    assert decide.retry_after(Mind(known=says(took=took), waking_since=since), NOW) == told


def test_a_gateway_that_has_just_started_knows_of_the_quiet_before_it() -> None:
    """From the Lease; and a pod that answers its first knock has been there before."""
    mind = decide.saw(Mind(), says(), NOW, age=50)
    mind = decide.knocked(mind, NOW, answered=True)
    assert steps(mind) == (Step.WAIT, 25)
    assert decide.next_step(replace(mind, read_at=NOW + 50), NOW + 50, LIMITS)[0] is Step.SLEEP


def test_a_pod_that_comes_up_is_given_its_time() -> None:
    """A model that nobody has asked for since it became ready has not been idle for longer than that."""
    mind = decide.knocked(replace(QUIET, answering_since=None, active_at=-math.inf), NOW, answered=False)
    mind = decide.knocked(mind, NOW, answered=True)
    assert mind.answering_since == NOW


def test_a_word_of_ones_own_is_no_sign_of_life_of_others() -> None:
    """Or writing down that a request came would put off the sleep."""
    assert decide.renewed(AWAKE, says(version="2"), NOW, NOW).changed_at == AWAKE.changed_at
    assert decide.saw(AWAKE, says(version="2"), NOW).changed_at == NOW


def test_a_right_holds_from_when_it_was_asked_for() -> None:
    """Not from when the answer came; and what the operator has not granted is none."""
    assert decide.renewed(QUIET, says(), NOW - 7, NOW).renewed_at == NOW - 7
    assert decide.renewed(ASLEEP, says(Pods.ASLEEP), NOW - 7, NOW).renewed_at == -math.inf
    assert decide.renewed(AWAKE, says(wanted=False), NOW - 7, NOW).renewed_at == -math.inf
