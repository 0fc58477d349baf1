"""Fewer replicas: while callers are in the middle of their answers, and no fewer than a budget says."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from llama_operator.names import CONTAINER_PORT, pod_selector
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.eviction import evict
from tests.support.predict import Server
from tests.support.served import mock

pytestmark = pytest.mark.cluster
NAME = "mock"
PODS = ",".join(f"{key}={value}" for key, value in pod_selector(NAME).items())
EACH = 3
LONG = {"prompt": "Hi", "max_new_tokens": 200, "num_beams": 1}


def two_ready(space: Namespace) -> None:
    """Wait until both pods are."""
    eventually("two ready", lambda: space.there(LLAMA, NAME).get("status", {}).get("ready") == "2/2", seconds=180)


def test_scaling_down_ends_no_stream_before_its_last_token(space: Namespace) -> None:
    """The pod that goes finishes what it has begun: each stream brings the very text of the whole answer."""
    space.apply(mock(NAME, step_seconds=0.05, replicas=2))
    two_ready(space)
    servers = [Server(pod["status"]["podIP"], CONTAINER_PORT) for pod in space.list("pods", PODS)]
    begun = Barrier(2 * EACH + 1, timeout=60)

    def read(server: Server) -> tuple[str, list[str]]:
        """One stream to its end: the text, and why it ended."""
        with server.stream(LONG) as events:
            pieces = [next(events)]
            begun.wait()
            pieces += list(events)
        return "".join(piece.get("text", "") for piece in pieces), pieces[-1]["finish_reason"]

    whole = servers[0].predict(LONG).body["data"][0]
    with ThreadPoolExecutor(2 * EACH) as callers:
        streams = [callers.submit(read, server) for server in servers for _ in range(EACH)]
        begun.wait()
        space.run("scale", LLAMA, NAME, "--replicas=1")
        eventually(
            "one pod is told to go",
            lambda: any("deletionTimestamp" in pod["metadata"] for pod in space.list("pods", PODS)),
            seconds=30,
        )
        assert not any(stream.done() for stream in streams), "they ended before the pod was told to go"
        assert [stream.result(timeout=120) for stream in streams] == [(whole, ["length"])] * len(streams)
    eventually("one pod is left", lambda: len(space.list("pods", PODS)) == 1, seconds=120)


def test_no_pod_is_evicted_that_the_budget_needs(space: Namespace) -> None:
    """A drain is refused with the budget named; once the spec asks for fewer, it goes on, and another pod comes."""
    space.apply(mock(NAME, replicas=2, disruptionBudget={"minAvailable": 2}))
    two_ready(space)
    eventually("the budget counts both", lambda: budget(space).get("currentHealthy") == 2)
    pods = {pod["metadata"]["name"] for pod in space.list("pods", PODS)}
    evicted = min(pods)
    status, refusal = evict(space, evicted)
    assert (status, refusal["reason"]) == (429, "TooManyRequests")
    (cause,) = refusal["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert f"The disruption budget {NAME} needs 2 healthy pods and has 2 currently" in cause["message"]
    assert {pod["metadata"]["name"] for pod in space.list("pods", PODS)} == pods
    space.patch(LLAMA, NAME, {"spec": {"disruptionBudget": {"minAvailable": 1}}})
    eventually("one may go", lambda: budget(space).get("disruptionsAllowed") == 1)
    status, answer = evict(space, evicted)
    assert status == 201, answer
    eventually("it is gone", lambda: space.get("pod", evicted) is None, seconds=120)
    eventually("another comes", lambda: len(space.list("pods", PODS)) == 2)


def budget(space: Namespace) -> dict[str, Any]:
    """What the PodDisruptionBudget says of the pods."""
    return space.there("poddisruptionbudget", NAME).get("status", {})
