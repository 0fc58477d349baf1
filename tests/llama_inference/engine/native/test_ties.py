"""Searches whose beams end in equals: several forced end tokens, each with the same score after each beam."""

import copy
from typing import Any

import pytest

from llama_inference.engine.native.engine import Engine
from llama_inference.values import Generation
from tests.llama_inference.engine.native.bench import CONTEXT, Bench, a_prompt, a_request, tiny_model
from tests.support import tiny_llama

pytestmark = pytest.mark.slow

# Each gave other beams, or others first, where the first of equals was taken.
TIED: tuple[tuple[int, int, dict[str, Any]], ...] = (
    (10, 9, {"num_beams": 4, "num_return_sequences": 2, "forced_eos_token_id": [5, 1]}),
    (2, 11, {"num_beams": 6, "num_return_sequences": 6, "forced_eos_token_id": [1, 5], "eos_token_id": None}),
    (9, 1, {"num_beams": 6, "num_return_sequences": 4, "forced_eos_token_id": [1, 5, 9], "early_stopping": "never"}),
    (2, 20, {"num_beams": 6, "num_return_sequences": 3, "forced_eos_token_id": [1, 5, 9], "eos_token_id": [1, 5]}),
    (11, 5, {"num_beams": 6, "num_return_sequences": 6, "forced_eos_token_id": [1, 5], "length_penalty": 2.0}),
    (9, 9, {"num_beams": 3, "forced_eos_token_id": [7, 8], "length_penalty": 0.0, "early_stopping": "never"}),
    (10, 4, {"num_beams": 4, "num_return_sequences": 4, "forced_eos_token_id": [7, 8], "early_stopping": True}),
    (12, 18, {"num_beams": 4, "num_return_sequences": 4, "forced_eos_token_id": [1, 5]}),
)


def tied() -> list[Generation]:
    """Requests of many shapes, two of each, so that some are chosen for together."""
    return [a_request(a_prompt(length, salt), new=new, **how) for length, new, how in TIED for salt in (1, 2)]


def test_equal_beams_are_ranked_as_transformers_ranks_them() -> None:
    """By `torch.topk` over the same shapes, alone and in company."""
    model = tiny_model()
    bench = Bench(copy.deepcopy(model), model, tiny_llama.tokenizer(), Engine.of(model, max_context=CONTEXT))
    wanted = [bench.expected(each) for each in tied()]
    assert [bench.tokens([each])[0] for each in tied()] == wanted
    assert bench.tokens(tied()) == wanted
