"""A request whose numbers overflow fails alone: nobody who decodes beside it or after it is harmed."""

import copy

import pytest
import torch

from llama_inference.engine.native.engine import Engine
from llama_inference.values import Generation
from tests.llama_inference.engine.native.bench import CONTEXT, Bench, a_prompt, a_request, tiny_model

pytestmark = pytest.mark.slow
POISON = 399


@pytest.fixture(scope="module", params=[False, True], ids=["default", "batch-invariant"])
def poisoned(words: object, request: pytest.FixtureRequest) -> Bench:
    """A model with a token whose embedding is not a number, as after an overflow in half precision."""
    model = tiny_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[POISON] = torch.nan
    engine = Engine.of(copy.deepcopy(model), max_context=CONTEXT, batch_invariant=request.param)
    return Bench(model, model, words, engine)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_request_that_overflows_leaves_nothing_to_those_after_it(poisoned: Bench, beams: int) -> None:
    """They take its slot, and look, in company of longer texts, at entries after their own: it must not be there."""
    bad = a_request([POISON, *a_prompt(120)], num_beams=beams)
    good = [a_request(a_prompt(length), new=12, num_beams=beams, eos_token_id=None) for length in (5, 60, 9, 70)]
    batch = poisoned.batch(smallest=256, slab=1024)

    def submit(request: Generation) -> int:
        (job,) = poisoned.jobs(request)
        return batch.submit(job)

    failed = [submit(bad) for _ in range(4)]
    numbers: list[int] = []
    tokens: dict[int, tuple[int, ...]] = {}
    errors: list[int] = []
    while not batch.idle or not numbers:
        if batch.idle:
            numbers = [submit(request) for request in good]
        for report in batch.step():
            if report.error is not None:
                errors.append(report.job)
            elif report.done is not None:
                tokens[report.job] = report.done[0].token_ids
    assert sorted(errors) == failed
    assert [[tokens[number]] for number in numbers] == [poisoned.expected(request)[:1] for request in good]
