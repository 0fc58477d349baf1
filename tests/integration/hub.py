"""A model that is nothing but what a Hub tells of it, and LlamaDeployments that are checked against it."""

import json
from pathlib import Path
from typing import Any, Final

from tests.support.cluster import a_llama

REPO: Final = "org/tiny"
TOKEN: Final = "hf_ThisIsTheSecretToken"
PARAMETERS: Final = 1_000_000_000
_CONFIG: Final = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 2048,
    "max_position_embeddings": 4096,
}


def write_model(folder: Path, *, file_bytes: int = 0, **config: Any) -> Path:
    """Write a config and the header of a safetensors file with so many parameters, without the parameters.

    With `file_bytes` the file is at least so long; keyword arguments are fields of the config.
    """
    tensors = {"weight": {"dtype": "BF16", "shape": [PARAMETERS], "data_offsets": [0, 2 * PARAMETERS]}}
    header = json.dumps(tensors).encode()
    weights = len(header).to_bytes(8, "little") + header
    (folder / "model.safetensors").write_bytes(weights.ljust(file_bytes, b"\0"))
    (folder / "config.json").write_text(json.dumps(_CONFIG | config))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def checked(name: str = "llama", **spec: Any) -> dict[str, Any]:
    """A LlamaDeployment that is checked and, without replicas, claims no GPU; keyword arguments are fields."""
    return a_llama(name, **{"replicas": 0, "scheduling": {}, "preflight": {"mode": "enforce"}, **spec})
