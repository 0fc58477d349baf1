"""How jobs end: stop strings, time, hang-ups, and scores that leave nothing; and that nobody else notices."""

from dataclasses import replace
from typing import Any

import pytest

from llama_inference.backends.batching import Capacity
from llama_inference.engine.native.engine import Engine
from llama_inference.engine.native.parameters import uncovered
from llama_inference.errors import InvalidRequestError
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.values import FinishReason, Generation
from tests.llama_inference.engine.native.bench import CONTEXT, VOCABULARY, Bench, a_prompt, a_request

pytestmark = pytest.mark.slow


def stop_string(bench: Bench, request: Generation, after: int) -> str:
    """Two characters that stand in the output."""
    (tokens,) = bench.expected(request)
    text = bench.tokenizer.decode(tokens)
    return text[after : after + 2]


@pytest.mark.parametrize("beams", [1, 4])
def test_stop_strings_end_where_transformers_ends(tiny: Bench, beams: int) -> None:
    """Sequences and searches stop at the token that completes one, also across two tokens."""
    prompt = a_prompt(8)
    stops = [stop_string(tiny, a_request(prompt, num_beams=beams), after) for after in (3, 9, 17, 25)]
    request = a_request(prompt, stop_strings=stops, num_beams=beams)
    others = [a_request(a_prompt(9, salt)) for salt in range(3)]
    ((answer, *_), *_) = tiny.run([request, *others])
    assert [answer.token_ids] == tiny.expected(request)
    assert answer.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("beams", [1, 3])
def test_time_ends_a_job_with_what_is_there(tiny: Bench, beams: int) -> None:
    """`max_time` is computing time from the first step on; others in the batch go on to their end."""
    late = replace(a_request(a_prompt(8), num_beams=beams), max_time=1e-9)
    other = a_request(a_prompt(9))
    ((answer,), (rest,)) = tiny.run([late, other])
    assert answer.finish_reason is FinishReason.TIME
    assert len(answer.token_ids) == 1
    assert [rest.token_ids] == tiny.expected(other)


def test_the_time_is_that_of_the_whole_request(tiny: Bench) -> None:
    """A second prompt that waits for the first one's row finds the time over, and ends with its first token."""
    late = replace(a_request(a_prompt(8), eos_token_id=None), max_time=1e-9)
    late = replace(late, prompts=(*late.prompts, tuple(a_prompt(9))))
    ((first, second),) = tiny.run([late], rows=1)
    assert (first.finish_reason, second.finish_reason) == (FinishReason.TIME, FinishReason.TIME)
    assert len(second.token_ids) == 1


@pytest.mark.parametrize("beams", [1, 3])
def test_a_stop_string_that_begins_in_the_prompt_counts_only_where_it_may(tiny: Bench, beams: int) -> None:
    """Transformers counts it; OpenAI's stop is one of the output."""
    requests = [a_request(a_prompt(8, salt), num_beams=beams, eos_token_id=None, new=6) for salt in range(30)]
    pairs = [(request, (request.prompts[0][-1], tiny.expected(request)[0][0])) for request in requests]
    words, request = next(
        (text, request)
        for request, pair in pairs
        if (text := tiny.tokenizer.decode(pair)).isascii() and all(tiny.tokenizer.decode([token]) for token in pair)
    )
    asked = replace(request, stop_strings=(words,))
    ((early,), (late,)) = tiny.run([asked, replace(asked, stops_begin_in_prompt=False)])
    assert [early.token_ids] == tiny.expected(asked)
    assert len(early.token_ids) < len(late.token_ids) == 6


def test_why_a_sequence_ended_is_told(tiny: Bench) -> None:
    """An end token and the end of the room are told apart."""
    full = a_request(a_prompt(8), new=5)
    ((filled,),) = tiny.run([full])
    ended = a_request(a_prompt(8), new=5, eos_token_id=filled.token_ids[2])
    ((stopped,),) = tiny.run([ended])
    assert (filled.finish_reason, len(filled.token_ids)) == (FinishReason.LENGTH, 5)
    assert stopped.finish_reason is FinishReason.STOP
    assert stopped.token_ids == filled.token_ids[: filled.token_ids.index(filled.token_ids[2]) + 1]


@pytest.mark.parametrize("beams", [1, 3])
def test_scores_that_leave_nothing_fail_their_own_job_only(tiny: Bench, beams: int) -> None:
    """A request that forbids every token gets an error; its neighbours get what they get alone."""
    batch = tiny.batch()
    hopeless = a_request(a_prompt(8), suppress_tokens=list(range(VOCABULARY)), num_beams=beams)
    other = a_request(a_prompt(9), new=5)
    numbers = [_submit(tiny, batch, request) for request in (hopeless, other)]
    ended: dict[int, Any] = {}
    while not batch.idle:
        ended.update((report.job, report.error or report.done) for report in batch.step() if report.ended)
    assert isinstance(ended[numbers[0]], InvalidRequestError)
    assert "no token to choose" in str(ended[numbers[0]])
    assert [each.token_ids for each in ended[numbers[1]]] == tiny.expected(other)


def test_a_hang_up_frees_its_place_at_once_and_changes_nothing_for_others(tiny: Bench) -> None:
    """From the next step on a cancelled job takes no part; nothing of it is left in the engine."""
    engine = Engine.of(tiny.model, max_context=CONTEXT)
    batch = Batch(engine, Capacity(rows=8, tokens=64, entries=1024))
    stays = a_request(a_prompt(9))
    goes = [a_request(a_prompt(40, 1)), a_request(a_prompt(9, 2), num_beams=3)]
    number = _submit(tiny, batch, stays)
    gone = [_submit(tiny, batch, request) for request in goes]
    for _ in range(4):
        batch.step()
    for each in gone:
        batch.cancel(each)
    assert batch.running == 1
    answer: list[tuple[int, ...]] = []
    while not batch.idle:
        reports = batch.step()
        assert {report.job for report in reports} <= {number}
        answer += [done.token_ids for report in reports for done in report.done or ()]
    assert answer == tiny.expected(stays)
    assert engine.jobs == 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, None),
        ({"num_beams": 4, "do_sample": True, "typical_p": 0.9, "use_cache": False, "pad_token_id": 0}, None),
        ({"guidance_scale": 1.0, "prompt_lookup_num_tokens": None}, None),
        ({"guidance_scale": 1.5}, "guidance_scale"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens"),
        ({"a_parameter_of_tomorrow": 1}, "a_parameter_of_tomorrow"),
    ],
)
def test_what_the_batch_does_not_compute_is_told(given: dict[str, Any], reason: str | None) -> None:
    """A parameter that is not known to be computed keeps a request out, by name."""
    assert uncovered(a_request([2], **given)) == reason


def _submit(bench: Bench, batch: Any, request: Generation) -> int:
    (job,) = bench.jobs(request)
    return batch.submit(job)
