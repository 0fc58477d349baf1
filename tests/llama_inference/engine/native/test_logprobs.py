"""Log-probabilities are those of transformers' own scores in float32: of outputs, of beams, and of prompts."""

from collections.abc import Sequence as Seq
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from llama_inference.backends.scoring import scored
from llama_inference.values import Generation, Logprob, Sequence
from tests.llama_inference.engine.native.bench import CONTEXT, Bench, a_prompt, a_request
from tests.llama_inference.engine.native.test_families import a_bench
from tests.llama_inference.engine.native.thread_ranks import engine_of

pytestmark = pytest.mark.slow

CLOSE = 1e-4  # float32, summed in another order
TOP = 5
SHAPES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "penalized": {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "suppress_tokens": [30, 31]},
    "4 beams": {"num_beams": 4},
    "3 of 4 beams": {"num_beams": 4, "num_return_sequences": 3, "eos_token_id": [1, 5, 9, 13, 17, 21]},
}


def asked(request: Generation, *, prompt: bool = False) -> Generation:
    """The request, with log-probabilities."""
    return replace(request, logprobs=TOP, prompt_logprobs=TOP if prompt else None)


def rows_of(bench: Bench, request: Generation) -> list[torch.Tensor]:
    """What transformers' raw scores come to for each returned sequence: float32 [output, vocabulary] each."""
    (prompt,) = request.prompts
    config = GenerationConfig(
        **request.parameters, max_length=request.max_tokens, pad_token_id=0, return_dict_in_generate=True,
        output_logits=True,
    )  # fmt: skip
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        output = bench.reference.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    beams = getattr(output, "beam_indices", None)
    if beams is None:
        return [torch.stack([step[0] for step in output.logits]).log_softmax(-1)]
    return [
        torch.stack([output.logits[step][beam] for step, beam in enumerate(row) if beam >= 0]).log_softmax(-1)
        for row in beams.tolist()
    ]


def compare(found: Seq[Logprob], tokens: Seq[int], wanted: torch.Tensor) -> None:
    """Each token's own, and the likeliest beside it."""
    assert [each.token for each in found] == list(tokens)
    best = wanted.topk(TOP, dim=-1)
    for place, each in enumerate(found):
        assert each.value == pytest.approx(float(wanted[place, each.token]), abs=CLOSE)
        assert [token for token, _ in each.top] == best.indices[place].tolist()
        assert [value for _, value in each.top] == pytest.approx(best.values[place].tolist(), abs=CLOSE)


def check(bench: Bench, request: Generation, answer: list[Sequence]) -> None:
    """A whole answer."""
    for sequence, wanted in zip(answer, rows_of(bench, request), strict=True):
        compare(sequence.logprobs, sequence.token_ids, wanted[: len(sequence.token_ids)])


def read(bench: Bench, prompt: Seq[int]) -> torch.Tensor:
    """What a plain forward pass says of a prompt's tokens, but for its first."""
    with torch.inference_mode():
        return bench.reference(torch.tensor([prompt])).logits[0, :-1].log_softmax(-1)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_output_is_as_likely_as_transformers_scores_say(tiny: Bench, shape: str) -> None:
    """Before any penalty, ban or filter: what the model itself holds likely."""
    request = asked(a_request(a_prompt(9, salt=3), new=20, **SHAPES[shape]))
    (answer,) = tiny.run([request])
    check(tiny, request, answer)


def test_company_that_asks_for_nothing_is_told_nothing_and_changes_nothing(tiny: Bench) -> None:
    """In one batch: who asks, who does not, sequences and beams."""
    plain = [a_request(a_prompt(8 + n), new=12, **shape) for n, shape in enumerate(SHAPES.values())]
    together = [each for request in plain for each in (request, asked(request))]
    answers = tiny.run(together)
    for request, without, told in zip(plain, answers[::2], answers[1::2], strict=True):
        assert [each.token_ids for each in without] == [each.token_ids for each in told] == tiny.expected(request)
        assert all(each.logprobs == () for each in without)
        check(tiny, request, told)


@pytest.mark.parametrize("tokens", [256, 7], ids=["at once", "in pieces"])
def test_a_prompts_tokens_are_as_likely_as_a_forward_pass_says(tiny: Bench, tokens: int) -> None:
    """All but the first, however it is read, also when another has read the same text before."""
    prompt = a_prompt(40, salt=1)
    request = asked(a_request(prompt, new=4), prompt=True)
    beams = asked(a_request(prompt, new=4, num_beams=2), prompt=True)
    requests = [a_request(prompt, new=4), request, request, beams]
    for sequence, *_ in tiny.run(requests, tokens=tokens, rows=5)[1:]:
        compare(sequence.prompt_logprobs, prompt[1:], read(tiny, prompt))


def test_a_job_that_gives_way_is_told_each_token_once(tiny: Bench) -> None:
    """Its keys and values are computed again; what was told is not told again."""
    requests = [asked(a_request(a_prompt(20, salt=n), new=60), prompt=True) for n in range(6)]
    restarts: list[int] = []
    answers = tiny.run(
        requests, entries=256, smallest=16, slab=64, each_step=lambda batch: restarts.extend(batch.last_plan.restarts)
    )
    assert restarts
    for request, answer in zip(requests, answers, strict=True):
        check(tiny, request, answer)
        compare(answer[0].prompt_logprobs, request.prompts[0][1:], read(tiny, request.prompts[0]))


def test_an_output_that_generate_made_is_read_once_more(tiny: Bench) -> None:
    """Transformers' way: the same, for what it has generated."""
    request = asked(a_request(a_prompt(11), new=20, num_beams=3), prompt=True)
    (answer,) = tiny.run([request])
    for each in answer:
        bare = replace(each, logprobs=(), prompt_logprobs=())
        told = scored(tiny.reference, request, request.prompts[0], bare)
        compare(told.logprobs, each.token_ids, rows_of(tiny, request)[0])
        compare(told.prompt_logprobs, request.prompts[0][1:], read(tiny, request.prompts[0]))


def test_two_ranks_tell_what_one_tells(words: object, tmp_path: Path) -> None:
    """The leader has the scores of the whole vocabulary."""
    whole = a_bench("llama, tied", words)
    whole.reference.save_pretrained(tmp_path)
    bench = Bench(whole.reference, whole.model, words, engine_of(tmp_path, 2, max_context=CONTEXT))
    request = asked(a_request(a_prompt(30), new=12), prompt=True)
    (answer,) = bench.run([request], tokens=20, rows=8)
    check(bench, request, answer)
    compare(answer[0].prompt_logprobs, request.prompts[0][1:], read(bench, request.prompts[0]))
