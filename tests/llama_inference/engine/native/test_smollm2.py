"""The same truth on real weights: SmolLM2 in float32, where the likeliest tokens are close to each other."""

import copy
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tests.llama_inference.engine.native.bench import Bench, a_request
from tests.support.models import SMOLLM2, models_dir

pytestmark = pytest.mark.slow

PROMPTS = (
    "The capital of France is",
    "A llama grazes on the Altiplano; it is a camelid, not a camel. The first thing that it",
    "def fibonacci(n):\n",
)
SHAPES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no repetition": {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3},
    "4 beams": {"num_beams": 4},
    "2 of 3 beams": {"num_beams": 3, "num_return_sequences": 2, "early_stopping": True, "length_penalty": 0.5},
}


@pytest.fixture(scope="module")
def smollm2() -> Bench:
    """SmolLM2-135M-Instruct: transformers' own, and a packed copy."""
    folder = models_dir() / SMOLLM2
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    model.generation_config = GenerationConfig()
    return Bench(copy.deepcopy(model), model, AutoTokenizer.from_pretrained(folder))


def test_company_on_real_weights_equals_generate_alone(smollm2: Bench) -> None:
    """Three prompts with each shape, all in one batch."""
    end = smollm2.tokenizer.eos_token_id
    requests = [
        a_request(smollm2.tokenizer(prompt)["input_ids"], new=24, eos_token_id=end, **shape)
        for prompt in PROMPTS
        for shape in SHAPES.values()
    ]
    assert smollm2.tokens(requests, smallest=32, slab=256) == [smollm2.expected(request) for request in requests]
