"""Loading, serving, draining, lost: one way only, and what each says."""

import pytest

from llama_inference.errors import UnavailableError
from llama_inference.scheduler.lifecycle import Lifecycle, Phase

LOADING = UnavailableError("loading")


def test_a_server_that_drains_while_it_loads_never_serves() -> None:
    """A model that is ready after SIGTERM is too late."""
    lifecycle = Lifecycle()
    lifecycle.draining()
    lifecycle.serving()
    assert (lifecycle.phase, lifecycle.ready, lifecycle.live) == (Phase.DRAINING, False, True)


def test_a_lost_engine_stays_lost_for_its_first_reason() -> None:
    """What follows are effects of it."""
    lifecycle = Lifecycle()
    lifecycle.serving()
    lifecycle.lost("the device fell off")
    lifecycle.lost("everything else failed")
    lifecycle.draining()
    assert (lifecycle.phase, lifecycle.reason, lifecycle.live) == (Phase.LOST, "the device fell off", False)


@pytest.mark.parametrize(
    ("phase", "code", "words"),
    [
        (Phase.LOADING, "unavailable", "loading"),
        (Phase.DRAINING, "draining", "shutting down"),
        (Phase.LOST, "engine_lost", "GET /healthz says why"),
    ],
)
def test_a_phase_that_does_not_serve_says_why(phase: Phase, code: str, words: str) -> None:
    """With a code of its own."""
    lifecycle = Lifecycle()
    lifecycle.phase, lifecycle.reason = phase, "no device"
    with pytest.raises(UnavailableError, match=words) as caught:
        lifecycle.check(LOADING)
    assert caught.value.code == code


def test_a_server_that_leaves_is_not_ready_and_takes_requests() -> None:
    """Routing has yet to notice; one that still loads has nothing to take them with."""
    lifecycle = Lifecycle()
    lifecycle.leaving()
    assert lifecycle.phase is Phase.LOADING
    lifecycle.serving()
    lifecycle.leaving()
    lifecycle.check(LOADING)
    assert not lifecycle.ready


def test_a_serving_server_raises_nothing() -> None:
    """It is ready, and a request goes on."""
    lifecycle = Lifecycle()
    lifecycle.serving()
    lifecycle.check(LOADING)
    assert lifecycle.ready
