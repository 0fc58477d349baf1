"""Waiting for a TGI server: until it answers, and no longer once it says that it has failed."""

from contextlib import ExitStack

import pytest

from llama_inference.backends.tgi_start import wait_until_up
from llama_inference.errors import LoadError, LoadReason
from tests.support.ports import free_port
from tests.support.tgi import TgiServer


def test_a_tgi_that_begins_to_answer_late_is_waited_for() -> None:
    """Nobody at its port is a model that loads."""
    port = free_port()
    pauses: list[float] = []
    with ExitStack() as servers:

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                servers.enter_context(TgiServer(None, port=port))

        wait_until_up(f"http://127.0.0.1:{port}/", pause=pause)
    assert len(pauses) == 3


def test_a_tgi_that_says_it_has_failed_is_an_error() -> None:
    """With where it is and what it said: waiting longer helps nobody."""
    with TgiServer(None) as tgi:
        tgi.ready = False
        with pytest.raises(LoadError, match=rf"the TGI server at {tgi.url} is not healthy: .*503") as raised:
            wait_until_up(tgi.url, pause=lambda _: pytest.fail("it waited"))
    assert raised.value.reason is LoadReason.LOAD_FAILED
