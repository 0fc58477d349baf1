"""Every family and every rotary embedding that is said to be covered equals transformers; what is not is told."""

import copy
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from llama_inference.engine.native.architecture import covers_model
from llama_inference.engine.native.weights import pack
from tests.llama_inference.engine.native.bench import Bench, a_prompt, a_request, tiny_model

pytestmark = pytest.mark.slow

ROPES: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
}
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    **{
        f"llama, {name}": (LlamaForCausalLM, LlamaConfig, {"rope_parameters": {"rope_theta": 10000.0, **rope}})
        for name, rope in ROPES.items()
    },
    "llama, tied": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True}),
    "llama, as many key heads": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 4}),
    "llama, one key head": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 1}),
    "llama, wide heads": (LlamaForCausalLM, LlamaConfig, {"head_dim": 32}),
    "llama, biases": (LlamaForCausalLM, LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 16}),
}


def a_bench(name: str, words: object) -> Bench:
    """The two forms of one of the models."""
    cls, config, changes = MODELS[name]
    model = tiny_model(cls, config, **changes)
    with torch.no_grad():
        for parameter in model.parameters():  # so that no bias is zero and no norm's weight is one
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    return Bench(copy.deepcopy(model), model, words)


@pytest.mark.parametrize("name", MODELS)
def test_a_family_equals_generate(name: str, words: object) -> None:
    """Greedy and beams together, over a prompt that is read in pieces and up to the end of the context."""
    bench = a_bench(name, words)
    assert covers_model(bench.model.config) is None
    requests = [a_request(a_prompt(50), new=200), a_request(a_prompt(9), new=30, num_beams=3)]
    assert bench.tokens(requests, tokens=40, rows=8) == [bench.expected(request) for request in requests]


@pytest.mark.parametrize("name", ["llama, tied", "qwen2"])
def test_transformers_still_works_on_packed_weights(name: str, words: object) -> None:
    """What the engine does not cover runs on the same weights, and they are held once."""
    bench = a_bench(name, words)
    before = bench.expected(a_request(a_prompt(9)))
    weights = pack(bench.model)
    parts = [bench.model.model.layers[0].self_attn.k_proj.weight, bench.model.model.layers[0].mlp.up_proj.weight]
    packed = [weights.layers[0].qkv.weight, weights.layers[0].gate_up.weight]
    for part, whole in zip(parts, packed, strict=True):
        assert part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    if bench.model.config.tie_word_embeddings:
        assert weights.embedding.untyped_storage().data_ptr() == weights.head.weight.untyped_storage().data_ptr()
    assert Bench(bench.model, bench.model, words).expected(a_request(a_prompt(9))) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_transformers(dtype: torch.dtype, words: object) -> None:
    """Half precision rounds in the same places: the first token's choice is transformers' own."""
    model = tiny_model().to(dtype)
    bench = Bench(copy.deepcopy(model), model, words)
    requests = [a_request(a_prompt(length), new=1) for length in (3, 20, 70)]
    assert bench.tokens(requests) == [bench.expected(request) for request in requests]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (MistralConfig(sliding_window=128), "sliding window"),
        (LlamaConfig(hidden_act="gelu"), "gelu"),
        (LlamaConfig(rope_parameters={"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 64,
                                      "long_factor": [1.0] * 64, "original_max_position_embeddings": 64}), "longrope"),
        (GPT2Config(), "gpt2"),
    ],
)  # fmt: skip
def test_what_is_not_covered_is_told(config: Any, reason: str) -> None:
    """A model that would be computed wrongly is refused, with the reason."""
    told = covers_model(config)
    assert told is not None
    assert reason in told
