"""When each key is due: waking, running, failing, and what never happens twice."""

import pytest

from llama_operator.handlers.schedule import Backoff, Schedule

BACKOFF = Backoff(least=1, most=60)


@pytest.fixture
def schedule() -> Schedule[str]:
    """An empty schedule without jitter."""
    return Schedule(BACKOFF, jitter=lambda: 0.0)


def test_the_backoff_doubles_up_to_its_bound() -> None:
    """However many failures there were."""
    assert [BACKOFF.seconds(failures, 0) for failures in (1, 2, 3, 7, 10**9)] == [1, 2, 4, 60, 60]


def test_jitter_takes_off_up_to_a_half() -> None:
    """Many that failed at the same time come back at different ones."""
    assert [BACKOFF.seconds(3, jitter) for jitter in (0, 0.5, 1)] == [4, 3, 2]


def test_a_key_is_taken_when_it_is_due(schedule: Schedule[str]) -> None:
    """Not before, and only once."""
    schedule.wake("a", 5)
    assert schedule.take(4.9) is None
    assert schedule.take(5) == "a"
    assert schedule.take(100) is None


def test_waking_brings_forward_and_never_puts_off(schedule: Schedule[str]) -> None:
    """The earliest wish counts; the others are the same run."""
    for at in (5, 3, 9):
        schedule.wake("a", at)
    assert schedule.next_due() == 3
    assert schedule.take(3) == "a"
    schedule.done("a", 3)
    assert schedule.next_due() is None


def test_what_is_done_is_forgotten(schedule: Schedule[str]) -> None:
    """A deleted LlamaDeployment leaves nothing behind."""
    schedule.wake("a", 0)
    schedule.take(0)
    schedule.done("a", 1)
    assert len(schedule) == 0
    schedule.wake("a", 2)
    assert schedule.take(2) == "a"


def test_a_key_woken_in_flight_runs_once_more(schedule: Schedule[str]) -> None:
    """It is never in flight twice, and however often it was woken, one more look sees it all."""
    schedule.wake("a", 0)
    schedule.take(0)
    for at in (1, 2, 3):
        schedule.wake("a", at)
        assert schedule.take(at) is None
    schedule.done("a", 4)
    assert schedule.take(10) == "a"
    schedule.done("a", 11)
    assert schedule.take(100) is None


def test_a_burst_of_events_becomes_one_run(schedule: Schedule[str]) -> None:
    """After a run there is a short rest, in which wishes gather."""
    schedule.wake("a", 0)
    schedule.take(0)
    schedule.done("a", 1)
    schedule.wake("a", 1)
    assert schedule.take(1) == "a"  # it was idle, so nothing remembers that it has just run
    schedule.wake("a", 1)
    schedule.done("a", 1)
    assert schedule.take(1.1) is None
    assert schedule.take(1.2) == "a"


def test_the_one_that_waits_for_longest_is_first(schedule: Schedule[str]) -> None:
    """A key that is woken all the time gets no more than its turn."""
    for key in ("busy", "a", "b"):
        schedule.wake(key, 0)
    taken: list[str | None] = []
    for moment in range(4):
        taken.append(schedule.take(moment))
        schedule.wake("busy", moment)
        schedule.done(str(taken[-1]), moment)
    assert taken == ["busy", "a", "b", "busy"]


def test_work_may_ask_to_be_looked_at_again(schedule: Schedule[str]) -> None:
    """After so many seconds, or earlier if something wakes it."""
    schedule.wake("a", 0)
    schedule.take(0)
    schedule.done("a", 1, again_after=10)
    assert schedule.next_due() == 11
    schedule.wake("a", 5)
    assert schedule.take(5) == "a"


def test_a_failing_key_waits_longer_each_time(schedule: Schedule[str]) -> None:
    """Until it succeeds once; then it starts over."""
    waits: list[float] = []
    schedule.wake("a", 0)
    for fails in (True, True, True, False, True):
        due = schedule.next_due()
        assert due is not None
        schedule.take(due)
        if fails:
            waits.append(schedule.failed("a", due))
        else:
            schedule.done("a", due, again_after=5)
    assert waits == [1, 2, 4, 1]


def test_an_event_ends_the_wait_of_a_failing_key(schedule: Schedule[str]) -> None:
    """What was just mended need not wait a minute."""
    now = 0.0
    schedule.wake("a", now)
    for _ in range(6):
        now = schedule.next_due() or now
        schedule.take(now)
        schedule.failed("a", now)
    schedule.wake("a", now + 3)
    assert schedule.take(now + 3) == "a"


def test_events_that_a_failure_causes_do_not_drive_it_in_circles(schedule: Schedule[str]) -> None:
    """A key that is woken while it fails waits for the least backoff all the same."""
    schedule.wake("a", 0)
    schedule.take(0)
    schedule.wake("a", 0.5)
    schedule.failed("a", 1)
    schedule.wake("a", 1)
    assert schedule.next_due() == 2
