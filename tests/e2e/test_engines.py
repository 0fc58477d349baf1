"""Engines other than the default, on the cluster."""

from pathlib import Path
from typing import Any

import pytest

from llama_operator.names import CONTAINER_PORT
from tests.support import stack, tgi
from tests.support.ask import ask
from tests.support.cluster import Namespace
from tests.support.operator_objects import a_body
from tests.support.predict import Server
from tests.support.served import small_llama

pytestmark = pytest.mark.cluster


def test_a_mock_answers_without_model_gpu_or_hub(space: Namespace) -> None:
    """Load tests need no more than a node: the repository is on no Hub, and nothing asks for it."""
    space.apply(
        {
            "apiVersion": a_body()["apiVersion"],
            "kind": a_body()["kind"],
            "metadata": {"name": "mock"},
            "spec": {
                "model": {"repo": "nobody/has-this"},
                "engine": {"name": "mock"},
                "resources": {"gpu": {"count": 0}, "cpu": "100m", "memory": "256Mi"},
                "cache": {"size": "1Mi"},
            },
        }
    )
    space.condition("mock", "Available", "True Serving", seconds=120)
    answer = ask(space.name, "mock", {"prompt": "Hi", "max_new_tokens": 20, "num_beams": 1})
    assert answer["data"] == ["The llama (Lama gl"]


def test_tgi_ends_no_stream_before_its_last_token_when_its_pod_goes(space: Namespace) -> None:
    """It serves what our server hands over, and outlives the server's drain: told to go with it, it would cut this."""
    space.apply(_standing_in_for_tgi())
    there, program = "/stand-in", {"name": "stand-in", "configMap": {"name": "tgi", "defaultMode": 0o555}}
    path = {"name": "PATH", "value": f"{there}:/opt/venv/bin:/usr/bin:/bin"}
    sidecar = {
        "name": "tgi",
        "env": [path, {"name": "PACE", "value": "0.05"}],
        "volumeMounts": [{"name": program["name"], "mountPath": there}],
    }
    engine = {"name": "tgi", "tgi": {"image": stack.images()["inference"]}}
    pod_template = {"spec": {"initContainers": [sidecar], "volumes": [program]}}
    space.apply(small_llama("llama", engine=engine, podTemplate=pod_template))
    space.condition("llama", "Available", "True Serving", seconds=180)
    (pod,) = space.list("pods", "app.kubernetes.io/name=llama-inference")
    (held,) = [row["resources"]["limits"] for row in pod["spec"]["initContainers"] if row["name"] == "tgi"]
    assert held["nvidia.com/gpu"] == "1"
    server = Server(pod["status"]["podIP"], CONTAINER_PORT)
    asked = {"prompt": "Hi", "max_new_tokens": 150, "num_beams": 1}
    whole = server.predict(asked).body["data"][0]
    with server.stream(asked) as events:
        pieces = [next(events)]
        space.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
        pieces += list(events)
    assert "".join(piece.get("text", "") for piece in pieces) == whole
    assert pieces[-1]["finish_reason"] == ["length"]


def _standing_in_for_tgi() -> dict[str, Any]:
    """The stand-in as a program of the name that TGI's own has."""
    folder = Path(tgi.__file__).parent
    files = {"text-generation-launcher": "launcher.py", "server.py": "server.py"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "tgi"},
        "data": {name: (folder / source).read_text() for name, source in files.items()},
    }
