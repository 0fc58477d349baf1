"""What depends on the tokens before equals transformers' processors, many rows at once."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from llama_inference.engine.native import parameters
from llama_inference.engine.native.edits import edit
from llama_inference.engine.native.parameters import Sampling
from tests.llama_inference.engine.native.bench import VOCABULARY, Bench, a_prompt

pytestmark = pytest.mark.slow

CASES: list[dict[str, Any]] = [
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.6, "no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2},
    {"no_repeat_ngram_size": 50},
    {"bad_words_ids": [[3], [7, 8], [4, 4, 4], [1]]},
    {"min_length": 1000},
    {"min_new_tokens": 5, "suppress_tokens": [9, 10]},
    {"begin_suppress_tokens": [11]},
    {},
]


@pytest.mark.parametrize("produced", [0, 1, 25])
def test_edits_are_transformers_own(tiny: Bench, produced: int) -> None:
    """Every case in one call: the same scores as transformers leaves for each alone."""
    prompt = (4, 4, 7, *a_prompt(9), 4, 4)
    # Few different tokens, so that there is something to repeat.
    output = [4, 7, *(token % 6 for token in a_prompt(40))][:produced]
    tokens = np.array([*prompt, *output, *([] if produced == 1 else [4, 4])], np.int64)
    if produced == 0:
        tokens = np.array(prompt, np.int64)
    scores = torch.randn(len(CASES), VOCABULARY, generator=torch.Generator().manual_seed(1))
    expected: list[torch.Tensor] = []
    rows: list[tuple[int, Sampling, Any]] = []
    for row, case in enumerate(CASES):
        given = {"eos_token_id": [1, 2], **case}
        config = parameters.resolve(given, 5000)
        rows.append((row, parameters.sampling(config, given, prompt, None), tokens))
        tiny.reference._prepare_special_tokens(config, device="cpu")
        if config.min_new_tokens:
            config.min_length = config.min_new_tokens + len(prompt)
        chain = tiny.reference._get_logits_processor(config, input_ids_seq_length=len(prompt))
        expected.append(chain(torch.from_numpy(tokens)[None], scores[row : row + 1].clone()))
    edit(scores, rows)
    torch.testing.assert_close(scores, torch.cat(expected))


def test_frequency_and_presence_count_the_output_only() -> None:
    """Each time costs the frequency penalty, being there at all the presence penalty; the prompt costs nothing."""
    how = Sampling(frequency=0.5, presence=0.25, prompt_length=2)
    scores = torch.zeros(1, 10)
    edit(scores, [(0, how, np.array([3, 5, 5, 7, 7, 7], np.int64))])
    assert scores[0].tolist() == [0, 0, 0, 0, 0, -0.75, 0, -1.75, 0, 0]


def test_frequency_and_presence_count_beside_a_chain_of_transformers() -> None:
    """The chain has the repetition penalty, and it is not applied twice."""
    how = Sampling(repetition=2.0, frequency=0.5, presence=0.25, prompt_length=2, chain=LogitsProcessorList())
    scores = torch.ones(1, 10)
    edit(scores, [(0, how, np.array([3, 5, 5, 7], np.int64))])
    assert scores[0].tolist() == [1, 1, 1, 1, 1, 0.25, 1, 0.25, 1, 1]
