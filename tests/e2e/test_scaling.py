"""Fewer replicas, while callers are in the middle of their answers."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from llama_operator.names import API_VERSION, CONTAINER, CONTAINER_PORT, KIND, pod_selector
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.predict import Server

pytestmark = pytest.mark.cluster
NAME = "mock"
PODS = ",".join(f"{key}={value}" for key, value in pod_selector(NAME).items())
EACH = 3
LONG = {"prompt": "Hi", "max_new_tokens": 200, "num_beams": 1}


def test_scaling_down_ends_no_stream_before_its_last_token(space: Namespace) -> None:
    """The pod that goes finishes what it has begun: each stream brings the very text of the whole answer."""
    slow = {"name": CONTAINER, "env": [{"name": "LLAMA_INFERENCE_MOCK_STEP_SECONDS", "value": "0.05"}]}
    space.apply(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": NAME},
            "spec": {
                "model": {"repo": "nobody/has-this"},
                "replicas": 2,
                "engine": {"name": "mock"},
                "resources": {"gpu": {"count": 0}, "cpu": "100m", "memory": "256Mi"},
                "cache": {"size": "1Mi"},
                "podTemplate": {"spec": {"containers": [slow]}},
            },
        }
    )
    eventually("two ready", lambda: space.there(LLAMA, NAME).get("status", {}).get("ready") == "2/2", seconds=180)
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
