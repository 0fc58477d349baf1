"""What each engine makes of a pod."""

from decimal import Decimal
from typing import Any, get_args

import pytest

from llama_operator.plan.engines import ENGINES, MODEL_LINK
from llama_operator.preflight.pod import read
from llama_operator.spec.engine import EngineName
from tests.support.operator_objects import pod_spec, server


def env_of(container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container."""
    return {row["name"]: row["value"] for row in container["env"]}


def tgi_of(**spec: Any) -> dict[str, Any]:
    """The sidecar of TGI in a pod of this spec."""
    engine = {"name": "tgi", **spec.pop("engine", {})}
    (beside,) = pod_spec(engine=engine, **spec)["initContainers"]
    return beside


def test_every_engine_has_a_row() -> None:
    """A name that the spec takes is one that is planned for."""
    assert set(ENGINES) == set(get_args(EngineName))


@pytest.mark.parametrize("name", [name for name in get_args(EngineName) if name != "tgi"])
def test_most_engines_are_the_server_itself(name: str) -> None:
    """One container, with the GPUs, that is told which backend to take."""
    engine = {"name": name, "image": "example.com/server:1"}
    spec = pod_spec(engine=engine)
    (container,) = spec["containers"]
    assert "initContainers" not in spec
    assert env_of(container)["LLAMA_INFERENCE_BACKEND"] == name
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def test_tgi_has_the_gpus_and_the_server_none() -> None:
    """Requests of the spec are for what computes; the server asks for little."""
    front = server(engine={"name": "tgi"}, resources={"cpu": "3", "memoryLimit": "8Gi"})
    beside = tgi_of(resources={"cpu": "3", "memoryLimit": "8Gi"})
    assert beside["resources"]["requests"]["cpu"] == "3"
    assert beside["resources"]["limits"] == {"nvidia.com/gpu": "2", "memory": "8Gi"}
    assert "limits" not in front["resources"]


def test_tgi_outlives_the_server_and_does_not_hold_up_its_start() -> None:
    """A sidecar is stopped after the server has drained; without a start-up probe it need not answer before it."""
    spec = pod_spec(engine={"name": "tgi"})
    assert [row["name"] for row in spec["containers"]] == ["inference"]
    assert tgi_of()["restartPolicy"] == "Always"
    assert "startupProbe" not in tgi_of()


def test_a_pod_with_tgi_asks_for_the_gpus_once() -> None:
    """For the scheduler, a quota and preflight: those of the sidecar and none besides."""
    pod = read(pod_spec(engine={"name": "tgi"}, resources={"cpu": "3", "memory": "20Gi"}))
    assert pod.requests["nvidia.com/gpu"] == pod.limits["nvidia.com/gpu"] == 2
    assert (pod.requests["cpu"], pod.requests["memory"]) == (Decimal("3.1"), 21 * 2**30)


def test_what_runs_before_the_server_is_counted_with_tgi() -> None:
    """An init container of podTemplate starts once the sidecar runs, and needs its room beside it."""
    copies = {"name": "copies", "image": "x", "resources": {"requests": {"cpu": "2"}}}
    template = {"spec": {"initContainers": [copies]}}
    pod = read(pod_spec(engine={"name": "tgi"}, resources={"cpu": "3"}, podTemplate=template))
    assert pod.requests["cpu"] == 5


def test_tgi_waits_for_the_model_that_the_server_fetched() -> None:
    """Both see one link: the server makes it, TGI loads what it names, and asks no Hub."""
    front, beside = server(engine={"name": "tgi"}), tgi_of()
    assert env_of(front)["LLAMA_INFERENCE_TGI_MODEL_LINK"] == MODEL_LINK == beside["command"][-1]
    assert env_of(beside)["HF_HUB_OFFLINE"] == "1"
    shared = {row["mountPath"]: row.get("readOnly", False) for row in beside["volumeMounts"]}
    assert (shared["/run/llama-inference"], shared["/var/cache/llama"]) == (True, True)
    assert {"name": "handover", "mountPath": "/run/llama-inference"} in front["volumeMounts"]


def test_tgi_answers_inside_the_pod_only() -> None:
    """Outside, it would answer who has no API key: no port is told, and it listens on loopback."""
    beside = tgi_of()
    assert "ports" not in beside
    assert "--hostname 127.0.0.1" in beside["command"][2]
    assert env_of(server(engine={"name": "tgi"}))["LLAMA_INFERENCE_TGI_URL"] == "http://127.0.0.1:8081"
    assert beside["args"][:2] == ["--port", "8081"]


def test_tgi_runs_under_the_servers_limits() -> None:
    """The same security context; the token of the Hub is not mounted, since it needs none."""
    front, beside = server(engine={"name": "tgi"}), tgi_of()
    assert beside["securityContext"] == front["securityContext"]
    assert not any("secrets" in row["mountPath"] for row in beside["volumeMounts"])


def test_tgi_is_told_what_the_spec_says() -> None:
    """GPUs, type, context, and the spec's own arguments last, so that they win."""
    engine = {"dtype": "bfloat16", "maxContextTokens": 2048, "tgi": {"image": "tgi:1", "args": ["--quantize", "awq"]}}
    beside = tgi_of(engine=engine, resources={"gpu": {"count": 4}})
    assert beside["image"] == "tgi:1"
    assert beside["args"] == [
        "--port", "8081", "--num-shard", "4", "--dtype", "bfloat16",
        "--max-total-tokens", "2048", "--max-input-tokens", "2047", "--quantize", "awq",
    ]  # fmt: skip


def test_tgis_port_decides_about_readiness() -> None:
    """While TGI restarts, no caller is sent here."""
    assert "8081" in str(tgi_of()["readinessProbe"]["exec"])
