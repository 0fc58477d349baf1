"""Golden prompts before readiness: a server that does not answer them as expected lives, and is not ready."""

import json
from typing import Any

import pytest

from llama_inference.backends.base import Backend
from llama_inference.backends.mock import TEXT
from llama_inference.engine.progress import Progress, Stage
from llama_inference.errors import EngineLostError, LoadReason
from llama_inference.metrics import Metrics
from llama_inference.settings import read
from tests.llama_inference.harness import Gate, PacedBackend, Served, errors, eventually, serve

pytestmark = pytest.mark.slow  # real servers

PASSING = {"prompt": "x", "parameters": {"max_new_tokens": 10}, "expect": {"equals": TEXT[:9]}}
CHAT = {"messages": [{"role": "user", "content": "x"}], "expect": {"startsWith": TEXT}}
FAILING = {"name": "the other one", "prompt": "x", "expect": {"contains": "alpaca"}}


def start(gate: Gate | None = None, *, lost: list[str] | None = None, **given: Any) -> tuple[Served, PacedBackend]:
    """A server, not started yet, whose model is loaded at once."""
    backend = PacedBackend(gate or Gate())

    def open_backend(progress: Progress, _: Metrics) -> Backend:
        for stage in (Stage.RESOLVE, Stage.DOWNLOAD, Stage.LOAD, Stage.WARM_UP):
            progress.finish(stage)
        return backend

    return serve(open_backend, lost=lost, **given), backend


def report(served: Served) -> dict[str, Any]:
    """The start-up report."""
    return served.client.get("/startupz").json()


def stage(served: Served) -> dict[str, Any]:
    """The stage Golden."""
    return report(served)["stages"][-1]


def failed(served: Served) -> dict[str, Any]:
    """Wait for the failure; return its error."""
    eventually(lambda: report(served)["error"], "the failure")
    return report(served)["error"]


def test_a_server_is_ready_once_its_golden_prompts_are_answered() -> None:
    """Plain ones and chats; the stage has its time."""
    server, _ = start(golden_prompts=[PASSING, CHAT])
    with server as served:
        served.ready()
        row = stage(served)
        assert (row["name"], row["state"]) == ("Golden", "done")
        assert 'model_load_seconds{stage="Golden"}' in served.client.get("/metrics").text
        assert served.predict({"prompt": "x", "max_new_tokens": 4}).status_code == 200


def test_until_they_are_answered_it_is_not_ready(gate: Gate) -> None:
    """Callers are told where it stands."""
    server, _ = start(gate, golden_prompts=[PASSING])
    with server as served:
        served.waits_for(running=1, waiting=0)
        assert served.client.get("/readyz").status_code == 503
        assert stage(served)["state"] == "running"
        status, code, _, message = errors(served.predict({"prompt": "x"}))
        assert (status, code, message) == (503, "loading", "the model is not ready yet: stage Golden")
        gate.open()
        served.ready()


def test_a_wrong_answer_keeps_it_unready_and_tells_the_difference() -> None:
    """It lives; the report has name, expected and got; the failure is counted; nobody is answered."""
    server, _ = start(golden_prompts=[PASSING, FAILING])
    with server as served:
        error = failed(served)
        assert (error["reason"], error["retry_in_seconds"]) == (LoadReason.GOLDEN_PROMPT_FAILED.value, None)
        assert error["message"].startswith(
            "1 of 2 golden prompts failed: golden prompt 'the other one': expected text that contains 'alpaca', got "
        )
        assert "stays unready until it is restarted" in error["message"]
        assert (report(served)["stage"], report(served)["ready"], stage(served)["state"]) == ("Golden", False, "failed")
        assert served.client.get("/healthz").status_code == 200
        assert served.client.get("/readyz").status_code == 503
        status, code, _, message = errors(served.predict({"prompt": "x"}))
        assert (status, code) == (503, "loading")
        assert error["message"] in message
        assert served.metric("golden_prompt_failures_total") == 1


def test_a_prompt_that_the_model_cannot_take_is_a_failure() -> None:
    """It is known only once the model is there."""
    long = {"prompt": "x" * 5000, "parameters": {"max_new_tokens": 4096}, "expect": {"equals": "y"}}
    server, _ = start(golden_prompts=[long])
    with server as served:
        assert "it could not be answered: prompt has 5000 tokens" in failed(served)["message"]


def test_a_generation_that_breaks_is_a_failure() -> None:
    """Its details stay in the log."""
    server, backend = start(golden_prompts=[PASSING])
    backend.fails_with = ZeroDivisionError("a detail")
    with server as served:
        message = failed(served)["message"]
        assert "it could not be answered: the generation failed" in message
        assert "a detail" not in message


def test_an_engine_that_is_lost_meanwhile_ends_the_server() -> None:
    """That is no matter of the golden prompt."""
    lost: list[str] = []
    server, backend = start(lost=lost, golden_prompts=[PASSING])
    backend.fails_with = EngineLostError("the device fell off the bus")
    with server as served:
        eventually(lambda: lost, "the loss")
        assert len(lost) == 1
        assert "the device fell off the bus" in lost[0]
        assert served.client.get("/healthz").status_code == 503


def test_a_drain_does_not_wait_for_golden_prompts(gate: Gate) -> None:
    """Nobody waits for their answers."""
    server, _ = start(gate, golden_prompts=[PASSING], drain_seconds=5.0)
    with server as served:
        served.waits_for(running=1, waiting=0)
        drained = served.drain()
        eventually(lambda: served.server.serving.lifecycle.phase.value == "draining", "the drain")
        gate.let(1)
        assert drained.result(5) is True


def test_the_setting_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the operator passes it on."""
    monkeypatch.setenv("LLAMA_INFERENCE_GOLDEN_PROMPTS", json.dumps([PASSING]))
    assert read(backend="mock").golden_prompts == [PASSING]
