"""Drawn tokens: the filters are transformers' own, draws follow the distribution, and a seed repeats."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

from llama_inference.engine.native import parameters
from llama_inference.engine.native.parameters import Sampling
from llama_inference.engine.native.sampling import NARROW, candidates, draw
from tests.llama_inference.engine.native.bench import Bench, a_prompt, a_request

pytestmark = pytest.mark.slow

FILTERS: list[dict[str, Any]] = [
    {"temperature": 0.7, "top_k": 0},
    {"temperature": 0.1, "top_k": 40, "top_p": 0.75},
    {"top_k": 5},
    {"top_k": 0, "top_p": 0.9},
    {"top_k": 0, "top_p": 0.3, "temperature": 3.0},
    {"top_k": 0, "min_p": 0.05},
    {"top_k": 60, "min_p": 0.2, "temperature": 2.0},
    {"top_k": 0, "typical_p": 0.5},
    {"top_k": 30, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.8, "temperature": 1.5},
    {"top_k": 1},
    {"top_k": 100_000, "top_p": 0.001},
]
SHAPES = [{}, {"num_beams": 3, "eos_token_id": [1, 5]}]


def by_transformers(bench: Bench, scores: Tensor, given: dict[str, Any]) -> Tensor:
    """Scores [1, n] as transformers' own warpers leave them."""
    config = parameters.resolve({"do_sample": True, "eos_token_id": 1, **given}, 100)
    bench.reference._prepare_special_tokens(config, device="cpu")
    chain = bench.reference._get_logits_processor(config, input_ids_seq_length=3)
    return chain(torch.tensor([[2, 3, 4]]), scores)


def how(given: dict[str, Any]) -> Sampling:
    """The same parameters as the engine takes them."""
    request = {"do_sample": True, "eos_token_id": 1, **given}
    return parameters.sampling(parameters.resolve(request, 100), request, (2, 3, 4), None)


def spread(values: Tensor, ids: Tensor, size: int) -> Tensor:
    """Candidates laid out over the whole vocabulary."""
    return torch.full((len(values), size), -math.inf).scatter(1, ids, values)


@pytest.mark.parametrize("shape", SHAPES, ids=["sequences", "beams"])
@pytest.mark.parametrize("size", [400, 5 * NARROW])
def test_filters_are_transformers_own(tiny: Bench, size: int, shape: dict[str, Any]) -> None:
    """Each row with parameters of its own, all rows at once: the same tokens with the same scores are left."""
    scores = 4 * torch.randn(len(FILTERS), size, generator=torch.Generator().manual_seed(3))
    filters = [{**given, **shape} for given in FILTERS]
    expected = torch.cat([by_transformers(tiny, row[None], given) for row, given in zip(scores, filters, strict=True)])
    together = spread(*candidates(scores, [how(given) for given in filters]), size)
    torch.testing.assert_close(together, expected)
    for row, given in enumerate(filters):  # alone, where fewer candidates may do
        alone = spread(*candidates(scores[row : row + 1], [how(given)]), size)
        torch.testing.assert_close(alone, expected[row : row + 1])


@pytest.mark.parametrize("given", [{"top_k": 3}, {"top_k": 0, "top_p": 0.5}])
def test_equal_scores_are_not_told_apart(tiny: Bench, given: dict[str, Any]) -> None:
    """Half precision makes ties: what ties with the last token that top-k keeps is kept, however many there are."""
    scores = torch.randn(1, 4096, generator=torch.Generator().manual_seed(1)).mul(2).round()
    expected = by_transformers(tiny, scores, given)
    found = spread(*candidates(scores, [how(given)]), 4096)
    if given["top_k"]:
        torch.testing.assert_close(found, expected)
    else:  # which of equal tokens top-p cuts off is nobody's promise; how many is
        assert found.isfinite().sum() == expected.isfinite().sum()


def test_draws_follow_the_distribution() -> None:
    """A chi-square test of 20,000 draws from eight tokens, at one chance in ten thousand."""
    scores = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5, 1.5, -math.inf, -0.5]])
    shares = scores.softmax(-1)[0]
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    ids = torch.arange(8).expand(20_000, 8)
    counts = torch.bincount(draw(scores.expand(20_000, 8), ids, uniform), minlength=8)
    expected = 20_000 * shares
    assert counts[6] == 0
    possible = shares > 0
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < 27.9  # of six degrees of freedom


def test_the_engine_draws_from_the_models_distribution(tiny: Bench) -> None:
    """First tokens under many seeds follow the processed logits: chi-square over the likeliest and the rest."""
    prompt = a_prompt(12)
    given: dict[str, Any] = {"do_sample": True, "temperature": 2.0, "top_k": 6}
    requests = [a_request(prompt, new=1, seed=seed, **given) for seed in range(2000)]
    drawn = torch.tensor([answer[0][0] for answer in tiny.tokens(requests)])
    with torch.inference_mode():
        logits = tiny.reference(torch.tensor([prompt])).logits[:, -1]
    shares = by_transformers(tiny, logits, {**given, "eos_token_id": 1}).softmax(-1)[0]
    kept = shares.nonzero()[:, 0]
    counts = torch.bincount(drawn, minlength=len(shares))
    assert counts[kept].sum() == 2000
    expected = 2000 * shares[kept]
    assert ((counts[kept] - expected) ** 2 / expected).sum() < 25.8  # of five degrees of freedom


def test_beam_sampling_draws_without_replacement_by_score(tiny: Bench) -> None:
    """The first beam of one-step searches is drawn by the model's distribution."""
    prompt = a_prompt(12)
    given: dict[str, Any] = {
        "do_sample": True,
        "temperature": 2.0,
        "top_k": 6,
        "num_beams": 2,
        "num_return_sequences": 2,
    }
    requests = [a_request(prompt, new=1, seed=seed, **given) for seed in range(1000)]
    answers = tiny.tokens(requests)
    assert all(one != other for one, other in answers)
    with torch.inference_mode():
        logits = tiny.reference(torch.tensor([prompt])).logits[:, -1]
    shares = by_transformers(tiny, logits.log_softmax(-1), {**given, "eos_token_id": 1}).softmax(-1)[0]
    likeliest = int(shares.argmax())
    share = float(shares[likeliest])
    # In either of two draws without replacement.
    others = shares[(shares > 0) & (torch.arange(len(shares)) != likeliest)]
    either = share + float((others * share / (1 - others)).sum())
    hits = sum(any(row == (likeliest,) for row in answer) for answer in answers)
    assert abs(hits - 1000 * either) < 4 * math.sqrt(1000 * either * (1 - either))


SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.5, "top_k": 50, "top_p": 0.95}


DRAWN = {
    "sequences": SAMPLED,
    "beams": {**SAMPLED, "num_beams": 3},
    "no top-k": {**SAMPLED, "top_k": 0},
    "by transformers' processors": {**SAMPLED, "eta_cutoff": 0.01},
}


@pytest.mark.parametrize("given", DRAWN.values(), ids=DRAWN)
def test_a_seed_repeats_in_any_company(tiny: Bench, given: dict[str, Any]) -> None:
    """The same seed and request give the same text alone, beside others, read in pieces, and after giving way."""
    request = a_request(a_prompt(20), seed=42, **given)
    alone = tiny.tokens([request])[0]
    others = [a_request(a_prompt(30, salt), seed=salt, **SAMPLED) for salt in range(12)]
    assert tiny.tokens([*others, request])[-1] == alone
    assert tiny.tokens([*others, request], entries=256, slab=64)[-1] == alone
    assert tiny.tokens([request], tokens=6, rows=4)[0] == alone


def test_seeds_and_sequences_differ(tiny: Bench) -> None:
    """Other seeds give other texts, and so do the sequences of one request."""
    answers = tiny.tokens([a_request(a_prompt(20), seed=seed, num_return_sequences=4, **SAMPLED) for seed in (1, 2)])
    texts = [tokens for answer in answers for tokens in answer]
    assert len(set(texts)) == 8
    assert all(one != other for one, other in pairwise(texts))


def test_the_models_defaults_fill_in(tiny: Bench) -> None:
    """What a request leaves out is what `generate` would take: 50 for top-k."""
    config: Any = parameters.resolve({"do_sample": True}, 10)
    transformers: Any = GenerationConfig
    defaults = transformers._get_default_generation_params()
    assert (config.top_k, config.temperature) == (defaults["top_k"], defaults["temperature"])
