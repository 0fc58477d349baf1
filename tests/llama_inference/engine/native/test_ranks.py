"""Several ranks give the tokens of one, whatever the family; each reads its own part and nothing else."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

from benchmarks.loading import __main__ as loading
from llama_inference.engine.native.checkpoint import Checkpoint, skeleton
from llama_inference.engine.native.division import refuses
from llama_inference.engine.native.shards import read_part
from llama_inference.engine.native.weights import Norm, Projection, Weights
from llama_inference.errors import LoadError
from tests.llama_inference.engine.native.bench import CONTEXT, Bench, a_prompt, a_request, tiny_model
from tests.llama_inference.engine.native.test_families import a_bench
from tests.llama_inference.engine.native.thread_ranks import CPU, ThreadStepper, engine_of
from tests.support.models import SMOLLM2, models_dir

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["llama, tied", "llama, wide heads", "llama, biases", "qwen2", "qwen3"])
def test_two_ranks_of_a_family_equal_generate(name: str, words: object, tmp_path: Path) -> None:
    """Biases are added once, norms of heads and embeddings that are the head's as well are divided rightly."""
    whole = a_bench(name, words)
    whole.reference.save_pretrained(tmp_path)
    engine = engine_of(tmp_path, 2, max_context=CONTEXT)
    bench = Bench(whole.reference, whole.model, words, engine)
    requests = [a_request(a_prompt(50), new=40), a_request(a_prompt(9), new=30, num_beams=3)]
    assert bench.tokens(requests, tokens=40, rows=8) == [bench.expected(request) for request in requests]


def test_ranks_that_divide_a_vocabulary_unevenly_choose_alike(words: object, tmp_path: Path) -> None:
    """Four ranks of 401 tokens: the last one has fewer, and no token is lost or made up."""
    model = tiny_model(num_key_value_heads=4, vocab_size=401)
    model.save_pretrained(tmp_path)
    bench = Bench(copy.deepcopy(model), model, words, engine_of(tmp_path, 4, max_context=CONTEXT))
    requests = [a_request(a_prompt(length), new=30) for length in (3, 30)]
    assert bench.tokens(requests) == [bench.expected(request) for request in requests]


def test_three_ranks_on_real_weights_equal_generate() -> None:
    """SmolLM2 has nine heads and three key heads."""
    folder = models_dir() / SMOLLM2
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    model.generation_config = GenerationConfig()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bench = Bench(model, model, tokenizer, engine_of(folder, 3, max_context=CONTEXT))
    prompt = tokenizer("A llama grazes on the Altiplano; it is")["input_ids"]
    requests = [a_request(prompt, new=12, num_beams=beams, eos_token_id=2) for beams in (1, 4)]
    assert bench.tokens(requests, smallest=32) == [bench.expected(request) for request in requests]


@pytest.mark.parametrize("name", ["llama, tied", "llama, biases", "qwen3"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_byte_of_the_weights_is_read_by_one_rank_and_held_once(
    name: str, ranks: int, words: object, tmp_path: Path
) -> None:
    """Norms and added biases apart, which are small; and what a rank holds is what it read."""
    model = a_bench(name, words).reference
    model.save_pretrained(tmp_path)
    stepper = ThreadStepper(tmp_path, ranks, max_context=CONTEXT)
    sizes = {key: parameter.numel() * 4 for key, parameter in model.named_parameters()}
    small = sum(size for key, size in sizes.items() if "norm" in key)
    halves = sum(size for key, size in sizes.items() if key.endswith(("o_proj.bias", "down_proj.bias")))
    assert sum(stepper.bytes_read) == sum(sizes.values()) + (ranks - 1) * small
    assert max(stepper.bytes_read) <= (sum(sizes.values()) + small * (ranks - 1) + halves) / ranks + halves
    for each, read in zip([stepper, *stepper.others], stepper.bytes_read, strict=True):
        assert held(each.weights) == read


def test_a_ranks_peak_memory_is_near_what_it_holds(tmp_path: Path) -> None:
    """Measured in a process of its own: the whole model never passes through it."""
    folder = loading.build(tmp_path, layers=8, hidden=512)
    row = loading.measure(folder, ranks=2, rank=1)
    assert row.part < 0.51 * row.files
    assert row.ratio < 1.3


def held(weights: Weights) -> int:
    """Bytes of all distinct tensors, what a norm derives from its weight left out."""
    tensors: list[Tensor] = [weights.embedding, *_of(weights.head), *_of(weights.norm)]
    for layer in weights.layers:
        parts = (layer.norm, layer.qkv, layer.query_norm, layer.key_norm, layer.out, layer.mlp_norm, layer.gate_up)
        for part in (*parts, layer.down):
            tensors += _of(part)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _of(part: Projection | Norm | None) -> list[Tensor]:
    if part is None:
        return []
    given = (part.weight, part.bias) if isinstance(part, Projection) else (part._weight,)  # pyright: ignore[reportPrivateUsage]
    return [tensor for tensor in given if tensor is not None]


def test_a_model_that_so_many_ranks_cannot_divide_is_told_with_the_numbers() -> None:
    """And with the numbers of ranks that would do."""
    config = LlamaConfig(num_attention_heads=9, num_key_value_heads=3, intermediate_size=1536, hidden_size=576)
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    reason = refuses(model.config, model._tp_plan, 2)
    assert reason == "2 ranks cannot divide its 9 attention heads and 3 key heads evenly: use 1 or 3"
    assert refuses(model.config, model._tp_plan, 3) is None


def test_a_plan_that_is_not_computed_is_told() -> None:
    """A later transformers may divide otherwise: computing on would be wrong."""
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(LlamaConfig(num_hidden_layers=1))
    odd = {**model._tp_plan, "model.layers.*.mlp.down_proj": "colwise"}
    assert "model.layers.*.mlp.down_proj" in (refuses(model.config, odd, 2) or "")
    assert "plan" in (refuses(model.config, None, 2) or "")


def test_weights_of_another_model_are_told(tmp_path: Path) -> None:
    """By the name of what is missing."""
    tiny_model(num_hidden_layers=1).save_pretrained(tmp_path)
    model = skeleton(tmp_path, torch.float32, CPU)
    larger: Any = tiny_model()
    larger.save_pretrained(tmp_path / "larger")
    model = skeleton(tmp_path / "larger", torch.float32, CPU)
    with pytest.raises(LoadError, match=r"hold no model\.layers\.1\."):
        read_part(model, Checkpoint(tmp_path), rank=0, ranks=2)
