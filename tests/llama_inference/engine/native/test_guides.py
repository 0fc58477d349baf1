"""Outputs are held to their grammars: greedy, drawn and by beams, in any company, as transformers would hold them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher
from transformers import GenerationConfig

from llama_inference.backends.guiding import GuidedScores
from llama_inference.protocol.structures import schema
from llama_inference.values import FinishReason, Generation, Structure, StructureKind
from tests.llama_inference.engine.native.bench import Bench, Tokens, a_prompt, a_request

pytestmark = pytest.mark.slow

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
REGEX = Structure(kind=StructureKind.REGEX, text="(yes|no|perhaps)( indeed)?", param="guided_regex")
DRAWN: Mapping[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


def held(request: Generation, structure: Structure | None = None) -> Generation:
    """The request, held to a schema unless told otherwise."""
    return replace(request, structure=structure or schema(PERSON, "guided_json"))


def text(bench: Bench, tokens: tuple[int, ...]) -> str:
    """The text of an output."""
    return bench.tokenizer.decode([token for token in tokens if token != 1])


def expected(bench: Bench, request: Generation) -> Tokens:
    """What transformers answers, whose every step asks the grammar which tokens it allows."""
    grammar, (prompt,) = bench.grammars.of(request), request.prompts
    assert grammar is not None

    def allowed(_: int, ids: torch.Tensor) -> list[int]:
        matcher: LLMatcher = grammar.deep_copy()
        output = ids[len(prompt) :].tolist()
        if matcher.try_consume_tokens(output) < len(output):
            return [1]
        words = matcher.compute_bitmask()
        return [token for token in range(400) if words[token // 8] >> token % 8 & 1]

    config = GenerationConfig(
        **request.parameters, max_length=request.max_tokens, pad_token_id=0, return_dict_in_generate=True
    )
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        output = bench.reference.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=config, prefix_allowed_tokens_fn=allowed
        )
    rows = output.sequences[:, len(prompt) :].tolist()
    beams = getattr(output, "beam_indices", None)
    lengths = [len(row) for row in rows] if beams is None else (beams >= 0).sum(dim=1).tolist()
    return [tuple(row[:length]) for row, length in zip(rows, lengths, strict=True)]


def without_end(tokens: Tokens) -> Tokens:
    """An output that can only end ends at once here; transformers takes one step more for the end token."""
    return [tuple(token for token in row if token != 1) for row in tokens]


@pytest.mark.parametrize("structure", [schema(PERSON, "guided_json"), REGEX], ids=["schema", "regex"])
@pytest.mark.parametrize("beams", [1, 3])
def test_tokens_are_those_of_transformers_with_the_same_grammar(tiny: Bench, structure: Structure, beams: int) -> None:
    """Of all that the grammar allows the likeliest, by greedy search and by beams."""
    request = held(a_request(a_prompt(12), new=60, num_beams=beams), structure)
    (answer,) = tiny.run([request])
    assert without_end([each.token_ids for each in answer]) == without_end(expected(tiny, request))


def test_what_generate_makes_is_held_as_well(tiny: Bench) -> None:
    """The processor of the other way allows the same, for each beam wherever it moves."""
    request = held(a_request(a_prompt(12), new=60, num_beams=3))
    grammar = tiny.grammars.of(request)
    assert grammar is not None
    config = GenerationConfig(**request.parameters, max_length=request.max_tokens, pad_token_id=0)
    ids = torch.tensor(request.prompts)
    with torch.inference_mode():
        rows = tiny.reference.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=config,
            logits_processor=[GuidedScores(grammar, 12, (1,))],
        )  # fmt: skip
    found = [tuple(token for token in row if token) for row in rows[:, 12:].tolist()]
    assert without_end(found) == without_end(expected(tiny, request))


def test_company_is_not_held(tiny: Bench) -> None:
    """In one batch: held and free, drawn, greedy and by beams; each is what it is alone."""
    free = [a_request(a_prompt(9), new=20), a_request(a_prompt(8), new=20, num_beams=2)]
    bound = [
        held(a_request(a_prompt(9), new=60)),
        held(a_request(a_prompt(8), new=60, num_beams=2)),
        held(a_request(a_prompt(7), new=60, seed=5, **DRAWN), REGEX),
    ]
    alone = [tiny.tokens([each])[0] for each in (*free, *bound)]
    assert tiny.tokens([*free, *bound]) == alone
    assert alone[:2] == [tiny.expected(each) for each in free]


def test_a_choice_is_drawn_in_the_models_proportions(tiny: Bench) -> None:
    """Of what the grammar leaves; a seed repeats it."""
    one = Structure(kind=StructureKind.GRAMMAR, text='start: "a" | "b"', param="guided_choice")
    requests = [held(a_request(a_prompt(7), new=4, seed=seed, **DRAWN), one) for seed in range(300)]
    answers = [text(tiny, tokens) for (tokens,) in tiny.tokens(requests)]
    with torch.inference_mode():
        logits = tiny.reference(torch.tensor([a_prompt(7)])).logits[0, -1]
    a, b = (tiny.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "ab")
    share = float(logits[[a, b]].softmax(-1)[0])
    assert set(answers) <= {"a", "b"}
    assert answers.count("a") / 300 == pytest.approx(share, abs=0.1)
    assert [text(tiny, tokens) for (tokens,) in tiny.tokens(requests[:20])] == answers[:20]


def test_an_end_token_that_is_ignored_ends_no_open_grammar(tiny: Bench) -> None:
    """Where the grammar may end at each token: the output goes on to its room."""
    letters = Structure(kind=StructureKind.REGEX, text="[a-z]*", param="guided_regex")
    bias = [[[1], 100.0]]
    request = held(a_request(a_prompt(9), new=12, eos_token_id=[], sequence_bias=bias), letters)
    ((answer,),) = tiny.run([request])
    assert (answer.finish_reason, len(answer.token_ids)) == (FinishReason.LENGTH, 12)
    assert 1 not in answer.token_ids


def test_an_end_token_that_is_text_is_the_grammars_to_allow(tiny: Bench) -> None:
    """It ends the output where it comes, also within what is not whole."""
    (quote,) = tiny.tokenizer('"', add_special_tokens=False)["input_ids"]
    only = Structure(kind=StructureKind.GRAMMAR, text='start: "a" "b"', param="guided_grammar")
    (a,) = tiny.tokenizer("a", add_special_tokens=False)["input_ids"]
    bias = [[[a], 50.0]]
    ((answer,), (other,)) = tiny.run(
        [held(a_request(a_prompt(9), new=9, eos_token_id=[1, end], sequence_bias=bias), only) for end in (a, quote)]
    )
    assert (answer.finish_reason, answer.token_ids) == (FinishReason.STOP, (a,))
    assert text(tiny, other.token_ids) == "ab"


def test_a_grammar_without_room_is_told(tiny: Bench) -> None:
    """The output is a beginning of what was asked for, and its reason is the length."""
    (answer,) = tiny.run([held(a_request(a_prompt(9), new=3))])
    assert [each.finish_reason for each in answer] == [FinishReason.LENGTH]


def test_a_stop_string_ends_it_all_the_same(tiny: Bench) -> None:
    """As it ends any other output."""
    (answer,) = tiny.run([held(a_request(a_prompt(9), new=60, stop_strings=['"name"']))])
    assert answer[0].finish_reason is FinishReason.STOP
    assert text(tiny, answer[0].token_ids).endswith('"name"')


def test_a_job_that_gives_way_goes_on_in_its_grammar(tiny: Bench) -> None:
    """Its keys and values are computed again, its place in the grammar is kept."""
    requests = [held(a_request(a_prompt(20, salt=n), new=60, num_beams=1 + n % 2)) for n in range(6)]
    alone = [tiny.tokens([each])[0] for each in requests]
    restarts: list[int] = []
    together = tiny.run(
        requests, entries=256, smallest=16, slab=64, each_step=lambda batch: restarts.extend(batch.last_plan.restarts)
    )
    assert restarts
    assert [[each.token_ids for each in answer] for answer in together] == alone


NAMES = st.sampled_from(["a", "b", "name", "größe", 'q"uote'])


def _integer(least: int, more: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": least + more}


def _string(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


def _enum(values: list[Any]) -> dict[str, Any]:
    return {"enum": values}


def _any_of(options: list[Any]) -> dict[str, Any]:
    return {"anyOf": options}


def _array(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": most}


def _object(properties: dict[str, Any], needed: int) -> dict[str, Any]:
    required = sorted(properties)[:needed]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(_integer, st.integers(-9, 9), st.integers(0, 99)),
    st.builds(_string, st.integers(0, 4)),
    st.builds(
        _enum, st.lists(st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=3)), min_size=1, max_size=3)
    ),
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(_object, st.dictionaries(NAMES, inner, max_size=3), st.integers(0, 3)),
        st.builds(_array, inner, st.integers(0, 3)),
        st.builds(_any_of, st.lists(inner, min_size=1, max_size=2)),
    )


SCHEMAS = st.recursive(LEAVES, _nested, max_leaves=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=SCHEMAS, seed=st.integers(0, 1000))
def test_every_finished_answer_validates(tiny: Bench, wanted: dict[str, Any], seed: int) -> None:
    """For random schemas: drawn by a model that knows nothing, greedy, and by beams."""
    structure = schema(wanted, "guided_json")
    ways: list[Mapping[str, Any]] = [{**DRAWN, "temperature": 0.7}, {}, {"num_beams": 2}]
    requests = [held(a_request(a_prompt(5), new=120, seed=seed, **way), structure) for way in ways]
    for answer in tiny.run(requests):
        if answer[0].finish_reason is FinishReason.STOP:
            jsonschema.validate(json.loads(text(tiny, answer[0].token_ids)), wanted)
