"""What the Hub of the end-to-end tests serves, and LlamaDeployments that start within seconds."""

from typing import Any, Final

from llama_operator.names import API_VERSION, CONTAINER, KIND
from tests.support import models

GATED: Final = "meta-llama/Llama-2-70b-chat-hf"
TOKEN: Final = "hf_ReaderOfTheGatedModel"
CONFIG: Final[dict[str, Any]] = {
    "repos": [
        {"name": models.SMOLLM2, "path": models.SMOLLM2},
        {"name": models.TINY, "path": models.TINY},
        # The real name of the seventy billion, with weights that fit here: its manifest is applied as it is.
        {"name": GATED, "path": models.TINY, "gated": "manual"},
    ],
    "tokens": [{"token": TOKEN, "account": "reader", "grants": [GATED]}],
}

CRASHING: Final[dict[str, Any]] = {
    "podTemplate": {
        "spec": {"containers": [{"name": CONTAINER, "command": ["llama-inference", "serve", "--no-such-option"]}]}
    }
}
"""A change of the spec with which the server ends as soon as it starts; in spec.engine.args it would be refused."""


def small_llama(name: str, repo: str = models.TINY, **spec: Any) -> dict[str, Any]:
    """A LlamaDeployment of tiny weights on one GPU; keyword arguments are fields of its spec."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {
            "model": {"repo": repo},
            "resources": {"gpu": {"count": 1}, "cpu": "100m", "memory": "256Mi", "sharedMemory": "64Mi"},
            "cache": {"size": "64Mi"},
            **spec,
        },
    }


def mock(name: str, *, step_seconds: float = 0.0, **spec: Any) -> dict[str, Any]:
    """A LlamaDeployment of the engine without a model; it takes so long for each token."""
    pace = {"name": "LLAMA_INFERENCE_MOCK_STEP_SECONDS", "value": str(step_seconds)}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {
            "model": {"repo": "nobody/has-this"},
            "engine": {"name": "mock"},
            "resources": {"gpu": {"count": 0}, "cpu": "100m", "memory": "256Mi"},
            "cache": {"size": "1Mi"},
            "podTemplate": {"spec": {"containers": [{"name": CONTAINER, "env": [pace]}]}},
            **spec,
        },
    }


def token_secret(token: str, name: str = "hf-access-token") -> dict[str, Any]:
    """A Secret with a Hub token, under the key that a LlamaDeployment looks for."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"hf_access_token": token}}
