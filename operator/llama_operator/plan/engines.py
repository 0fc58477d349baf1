"""The table of engines: what each adds to the pod, and whether it needs a model at all.

All are one server of ours with another backend. TGI is a program of its own: it runs in a sidecar of the server, takes
the pod's GPUs and most of what the pod asks for, and reads the model that the server has fetched and checked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_operator.names import Env
from llama_operator.plan import gpu
from llama_operator.spec.engine import EngineName
from llama_operator.spec.model import LlamaDeploymentSpec

TGI: Final = "tgi"
TGI_PORT: Final = 8081
HANDOVER: Final = "handover"
HANDOVER_DIR: Final = "/run/llama-inference"
MODEL_LINK: Final = f"{HANDOVER_DIR}/model"
FRONT: Final[Mapping[str, str]] = {"cpu": "100m", "memory": "1Gi"}
"""What the server asks for when the engine is elsewhere: it tokenizes and passes text on."""

# The link is made once the model is there as a whole; what it names is what TGI is to load, and nothing from the Hub.
# The router listens inside the pod only: outside it would answer who has no API key.
_START_TGI: Final = (
    'until [ -e "$0" ]; do sleep 1; done; '
    'exec text-generation-launcher --model-id "$(readlink -f "$0")" --hostname 127.0.0.1 "$@"'
)
_LISTENS: Final = f"exec 3<>/dev/tcp/127.0.0.1/{TGI_PORT}"

Container = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One row.

    Attributes:
        has_model: whether a model is fetched, checked and held in memory.
        env: more environment of the server.
        beside: the sidecar that computes; None when the server does.
    """

    has_model: bool = True
    env: Mapping[Env, str]
    beside: Callable[[LlamaDeploymentSpec], Container] | None = None


_PACKAGE: Final = Engine(has_model=False, env={})
"""A package brings its own code; `plan.package_pods` says what it adds to the pod."""


def of(spec: LlamaDeploymentSpec) -> Engine:
    """Return the row of the engine that a spec names."""
    return ENGINES[spec.engine.name] if spec.package is None else _PACKAGE


def requests(spec: LlamaDeploymentSpec) -> dict[str, Any]:
    """Return the resources of the container that computes."""
    gpus = gpu.resources(spec.resources.gpu)
    memory = {"memory": spec.resources.memory_limit} if spec.resources.memory_limit else {}
    return {
        "requests": {"cpu": spec.resources.cpu, "memory": spec.resources.memory, **gpus},
        "limits": {**memory, **gpus},
    }


def _tgi(spec: LlamaDeploymentSpec) -> Container:
    engine = spec.engine
    arguments = ["--port", str(TGI_PORT), "--num-shard", str(max(1, spec.resources.gpu.count))]
    if engine.dtype != "auto":
        arguments += ["--dtype", engine.dtype]
    if engine.max_context_tokens is not None:
        total = engine.max_context_tokens
        arguments += ["--max-total-tokens", str(total), "--max-input-tokens", str(max(1, total - 1))]
    return {
        "name": TGI,
        "image": engine.tgi.image,
        "command": ["/bin/sh", "-c", _START_TGI, MODEL_LINK],
        "args": [*arguments, *engine.tgi.args],
        "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "HOME", "value": "/tmp"}],  # noqa: S108  (the pod's)
        "resources": requests(spec),
        "readinessProbe": {
            "exec": {"command": ["bash", "-c", _LISTENS]},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
    }


ENGINES: Final[Mapping[EngineName, Engine]] = {
    "native": Engine(env={}),
    "transformers": Engine(env={}),
    "vllm": Engine(env={}),
    "tgi": Engine(
        env={Env.TGI_URL: f"http://127.0.0.1:{TGI_PORT}", Env.TGI_MODEL_LINK: MODEL_LINK},
        beside=_tgi,
    ),
    "mock": Engine(has_model=False, env={}),
}
