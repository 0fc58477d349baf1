"""What the Hub of the end-to-end tests serves, and LlamaDeployments that start within seconds."""

from typing import Any, Final

from llama_operator.names import API_VERSION, KIND
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


def token_secret(token: str, name: str = "hf-access-token") -> dict[str, Any]:
    """A Secret with a Hub token, under the key that a LlamaDeployment looks for."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"hf_access_token": token}}
