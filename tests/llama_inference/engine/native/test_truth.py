"""Tokens equal those of transformers' `generate` in float32, alone and in any company."""

from typing import Any

import pytest

from llama_inference.values import Generation
from tests.llama_inference.engine.native.bench import Bench, Tokens, a_prompt, a_request

pytestmark = pytest.mark.slow

MANY_ENDS = [1, 5, 9, 13, 17, 21, 25]
SHAPES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no repetition": {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    "a minimum": {"min_new_tokens": 10, "eos_token_id": MANY_ENDS},
    "a minimum with the prompt": {"min_length": 20, "eos_token_id": MANY_ENDS},
    "without words": {"bad_words_ids": [[5], [7, 8], [1]], "suppress_tokens": [30, 31], "begin_suppress_tokens": [9]},
    "by transformers' processors": {"exponential_decay_length_penalty": (5, 1.1), "sequence_bias": [[[42], 4.0]]},
    "a forced end": {"forced_eos_token_id": 1},
    "4 beams": {"num_beams": 4},
    "4 beams, many ends": {"num_beams": 4, "eos_token_id": MANY_ENDS},
    "3 of 4 beams, long": {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 2.0, "eos_token_id": MANY_ENDS},
    "beams, early": {"num_beams": 3, "early_stopping": True, "eos_token_id": MANY_ENDS},
    "beams, never early": {"num_beams": 3, "early_stopping": "never", "eos_token_id": MANY_ENDS},
    "beams, short": {"num_beams": 3, "early_stopping": "never", "length_penalty": -1.0, "eos_token_id": MANY_ENDS},
    "beams, no repetition": {"num_beams": 5, "no_repeat_ngram_size": 3, "repetition_penalty": 1.3},
    "beams, a minimum": {"num_beams": 4, "min_new_tokens": 20, "eos_token_id": MANY_ENDS},
    "beams, renormalized": {"num_beams": 4, "renormalize_logits": True, "suppress_tokens": [3, 4]},
    "16 beams": {"num_beams": 16, "num_return_sequences": 16},
}
LENGTHS = {"one token": (1, 60), "a sentence": (6, 7), "a page": (90, 33), "one step": (40, 1)}


def requests_of(shape: str) -> list[Generation]:
    """One shape with each length that leaves room for its minimum."""
    parameters = SHAPES[shape]
    return [
        a_request(a_prompt(prompt, salt=len(shape)), new=new, **parameters)
        for prompt, new in LENGTHS.values()
        if new > parameters.get("min_new_tokens", 0) and prompt + new > parameters.get("min_length", 0)
    ]


def every_request() -> list[Generation]:
    """Each shape with each length."""
    return [request for shape in SHAPES for request in requests_of(shape)]


@pytest.fixture(scope="module")
def truth(tiny: Bench) -> list[Tokens]:
    """What transformers answers to every request."""
    return [tiny.expected(request) for request in every_request()]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_alone_equals_generate(tiny: Bench, shape: str) -> None:
    """Token for token, for every way to search and to shape the search."""
    for request in requests_of(shape):
        assert tiny.tokens([request]) == [tiny.expected(request)]


@pytest.mark.parametrize(
    "budgets",
    [
        pytest.param({}, id="room for all"),
        pytest.param({"tokens": 7, "rows": 6}, id="prompts read in pieces"),
        pytest.param({"smallest": 256, "slab": 8192}, id="the server's slabs"),
    ],
)
def test_company_changes_nothing(tiny: Bench, truth: list[Tokens], budgets: dict[str, int]) -> None:
    """All requests in one batch, with room and without: each gets what it gets alone."""
    requests = every_request()
    if rows := budgets.get("rows"):
        requests = [request for request in requests if request.parameters["num_beams"] <= rows]
    wanted = [tokens for request, tokens in zip(every_request(), truth, strict=True) if request in requests]
    assert tiny.tokens(requests, **budgets) == wanted


def test_jobs_that_gave_way_end_as_if_they_had_not(tiny: Bench) -> None:
    """Long outputs in a small budget: sequences and searches lose their slots, and their tokens are the same."""
    requests = [a_request(a_prompt(9, salt), new=150, num_beams=1 + 3 * (salt % 2)) for salt in range(8)]
    lost: set[int] = set()
    answers = tiny.run(requests, each_step=lambda batch: lost.update(batch.last_plan.restarts), entries=1024, slab=64)
    assert {number % 2 for number in lost} == {0, 1}  # one job a request
    assert [[each.token_ids for each in answer] for answer in answers] == [tiny.expected(each) for each in requests]


def test_a_common_beginning_is_computed_once(tiny: Bench) -> None:
    """Of several prompts with one beginning, the others copy it, and continue as they do alone."""
    beginning = a_prompt(60)
    requests = [a_request([*beginning, *a_prompt(3, salt)], new=10) for salt in range(3)]
    read: list[int] = []

    def watch(batch: Any) -> None:
        read.append(sum(prefill.tokens for prefill in batch.last_plan.prefills))

    answers = tiny.run(requests, each_step=watch)
    assert sum(read) == 60 + 3 * 3
    assert [[each.token_ids for each in answer] for answer in answers] == [tiny.expected(each) for each in requests]


def test_what_has_ended_is_not_computed_again(tiny: Bench) -> None:
    """A conversation goes on, a search takes up its beginning, another text takes its slot: tokens stay the same."""
    batch = tiny.batch(tokens=256)
    first = a_request(a_prompt(50), new=20)
    text = [*first.prompts[0], *tiny.expected(first)[0]]
    requests = [
        first,
        a_request([*text, *a_prompt(5)], new=20),
        a_request([*text[:40], *a_prompt(7, 1)], new=20, num_beams=3),
        *(a_request(a_prompt(60, salt), new=20) for salt in range(2, 8)),
        a_request([*text, *a_prompt(9, 2)], new=20, do_sample=True, top_k=3),
        a_request([*text[:40], *a_prompt(7, 1)], new=20, num_beams=3),
    ]
    found: list[int] = []
    answers: list[Tokens] = []
    for request in requests:
        (job,) = tiny.jobs(request)
        batch.submit(job)
        found.append(0)
        while not batch.idle:
            for report in batch.step():
                answers += [[each.token_ids for each in report.done]] if report.done else []
            found[-1] += batch.last_plan.found
    greedy = [number for number, request in enumerate(requests) if not request.parameters["do_sample"]]
    assert [answers[number] for number in greedy] == [tiny.expected(requests[number]) for number in greedy]
    assert answers[-2] == tiny.tokens([requests[-2]])[0]
    assert found[1] == len(text) - 1
    assert found[2] == 40
    assert found[3:9] == [0] * 6
    assert found[-1] == 46
