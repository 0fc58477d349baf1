"""Who may wait, and for how long the next one is sent away."""

import pytest

from llama_inference.scheduler.admission import LONGEST_WAIT_S, DrainRate, admits


@pytest.mark.parametrize(
    ("before", "max_queue", "admitted"),
    [
        ([], 2, True),
        ([1, 1], 2, True),
        ([1, 1, 1], 2, False),
        ([], 0, True),  # no queue at all: still one at a time
        ([1], 0, False),
        ([1, 1], 1, False),
    ],
)
def test_as_many_wait_as_the_queue_holds(before: list[int], max_queue: int, *, admitted: bool) -> None:
    """The engine itself is a place of its own, whether or not it has begun with who has it."""
    assert admits(before, width=1, rows=1, max_queue=max_queue) is admitted


@pytest.mark.parametrize(
    ("before", "width", "admitted"),
    [
        ([30, 30], 4, True),
        ([30, 31], 4, False),
        ([64], 1, False),
        ([], 100, True),  # larger than the engine: taken when it is alone
        ([100], 1, False),
        ([60, 8], 1, False),  # nobody overtakes: the second waits, and so would the third
    ],
)
def test_an_engine_with_room_takes_more_at_once(before: list[int], width: int, *, admitted: bool) -> None:
    """Rows that are free are no queue."""
    assert admits(before, width=width, rows=64, max_queue=0) is admitted


@pytest.mark.parametrize(
    ("observed", "running_for", "seconds"),
    [
        ([], 3.2, 4),  # nothing has finished: half of the running one is taken to be done
        ([], 0.0, 1),
        ([10.0], 3.5, 7),  # what is left of the running one
        ([10.0], 12.0, 1),  # longer than the mean: any moment now
        ([10.0, 20.0], 0.0, 13),  # the newest counts for 0.3
        ([0.001], 0.0, 1),  # never 0: a client would come back at once
        ([1e6], 0.0, LONGEST_WAIT_S),
    ],
)
def test_the_wait_follows_the_measured_rate(observed: list[float], running_for: float, seconds: int) -> None:
    """Whole seconds until the running request is likely to be done."""
    rate = DrainRate()
    for each in observed:
        rate = rate.observe(each)
    assert rate.next_place_in(running_for) == seconds
