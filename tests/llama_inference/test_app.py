"""The life of a server: it drains without losing a request, and says when its engine is lost."""

from typing import Any

import pytest

from llama_inference.backends.mock import TEXT
from llama_inference.errors import ConfigurationError, EngineLostError
from tests.llama_inference.harness import Gate, PacedBackend, Served, errors, eventually, serve, serve_mock

pytestmark = pytest.mark.slow  # real servers, real transfers

SHORT = {"prompt": "x", "max_new_tokens": 4}
LONG = {"prompt": "x", "max_new_tokens": 1000}


@pytest.fixture
def gated(gate: Gate) -> Any:
    """A server whose life the test ends, so that it cannot be shared; not started."""
    return serve_mock(gate, drain_seconds=5.0)


def test_a_drain_fails_readiness_first_and_finishes_what_runs_and_waits(
    gated: tuple[Served, PacedBackend], gate: Gate
) -> None:
    """New requests are sent elsewhere, those admitted are answered, and only then is the drain done."""
    server, _ = gated
    with server as served:
        served.ready()
        first = served.ask(SHORT)
        served.waits_for(running=1, waiting=0)
        second = served.ask({**SHORT, "stream": True})
        served.waits_for(running=1, waiting=1)
        drained = served.drain()
        eventually(lambda: served.client.get("/readyz").status_code == 503, "readiness to fail")
        assert served.client.get("/readyz").json() == {"ready": False, "phase": "draining"}
        assert served.client.get("/healthz").status_code == 200
        refused = served.predict(SHORT)
        assert errors(refused)[:2] == (503, "draining")
        assert refused.headers["retry-after"] == "1"
        assert not drained.done()
        gate.open()
        assert first.response().json()["data"] == [TEXT[:3]]
        assert second.response().text.endswith("data: [DONE]\n\n")
        assert drained.result(5) is True


def test_a_drain_that_takes_too_long_tells_those_it_ends(gate: Gate) -> None:
    """With 503, so that their callers try another replica."""
    server, _ = serve_mock(gate, drain_seconds=0.05)
    with server as served:
        served.ready()
        running = served.ask(LONG)
        served.waits_for(running=1, waiting=0)
        waiting = served.ask(LONG)
        served.waits_for(running=1, waiting=1)
        assert served.drain().result(5) is False
        for call in (running, waiting):
            assert errors(call.response())[:2] == (503, "draining")


def test_requests_are_taken_until_routing_has_noticed() -> None:
    """It is not ready from the signal on, and what is sent to it all the same for a moment is answered."""
    server, _ = serve_mock(drain_notice_seconds=0.3)
    with server as served:
        served.ready()
        drained = served.drain()
        eventually(lambda: served.client.get("/readyz").status_code == 503, "readiness to fail")
        assert served.predict(SHORT).status_code == 200
        assert not drained.done()
        assert drained.result(5) is True
        assert errors(served.predict(SHORT))[:2] == (503, "draining")


def test_a_lost_engine_is_told_to_all_and_to_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run get 503 with the time that a start was seen to take, liveness fails, and the process is to end."""
    lost: list[str] = []
    server, backend = serve_mock(lost=lost)
    progress = server.server.progress
    report = progress.report()
    report["stages"] = [{**row, "seconds": 40.0} for row in report["stages"]]
    monkeypatch.setattr(progress, "report", lambda: report)
    backend.fails_with = EngineLostError("the device fell off the bus")
    with server as served:
        served.ready()
        answer = served.predict(SHORT)
        assert errors(answer)[:2] == (503, "engine_lost")
        assert answer.headers["retry-after"] == "130"
        eventually(lambda: lost, "the supervisor being told")
        assert "the device fell off the bus" in lost[0]
        health = served.client.get("/healthz")
        assert (health.status_code, health.json()["live"], health.json()["phase"]) == (503, False, "lost")
        refused = served.predict(SHORT)
        assert errors(refused)[:2] == (503, "engine_lost")
        assert refused.headers["retry-after"] == answer.headers["retry-after"]
        assert served.client.get("/readyz").status_code == 503
        assert len(lost) == 1


def test_an_engine_that_dies_while_loading_is_lost() -> None:
    """A bug is not tried again for ever: the process ends, and its supervisor shows it."""

    def broken(*_: object) -> Any:
        raise ZeroDivisionError("a bug in loading")

    lost: list[str] = []
    with serve(broken, lost=lost) as served:
        eventually(lambda: lost, "the supervisor being told")
        assert served.client.get("/healthz").status_code == 503
        assert "a bug in loading" in lost[0]


def test_wrong_limits_stop_it_before_it_listens() -> None:
    """In the words of the LlamaDeployment."""
    with pytest.raises(ConfigurationError, match=r"spec\.generation\.defaults\.top_p"):
        serve_mock(generation_defaults={"top_p": 2})


def test_the_deployments_limits_hold() -> None:
    """Its defaults for what is not given, its maximums for what is."""
    server, _ = serve_mock(generation_defaults={"max_new_tokens": 6}, generation_maximums={"max_new_tokens": 8})
    with server as served:
        served.ready()
        assert served.predict({"prompt": "x"}).json()["data"] == [TEXT[:5]]
        assert served.predict({"prompt": "x", "max_new_tokens": 8}).json()["data"] == [TEXT[:7]]
        assert errors(served.predict({"prompt": "x", "max_new_tokens": 9}))[2] == "max_new_tokens"
        info = served.client.get("/info").json()
        assert (info["defaults"]["max_new_tokens"], info["maximums"]) == (6, {"max_new_tokens": 8})
