"""Answers over HTTP equal transformers' own `generate` on the same weights; and what only a model can tell."""

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest

from llama_inference.protocol.parameters import GENERATION, PARAMETERS, REFUSED
from tests.llama_inference.harness import Served, errors

if TYPE_CHECKING:
    from tests.support.tiny_llama import Reference

pytestmark = pytest.mark.slow

PROMPT = "The capital of France"
GREEDY: dict[str, Any] = {"num_beams": 1, "do_sample": False}
BEAMS: dict[str, Any] = {"num_beams": 4, "do_sample": False}
SAMPLED: dict[str, Any] = {"num_beams": 1, "do_sample": True, "temperature": 1.0, "top_p": 0.9, "top_k": 30}
SHAPES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": BEAMS,
    "beams, all returned": {**BEAMS, "num_return_sequences": 4},
    "beams, long favoured": {**BEAMS, "length_penalty": 2.0, "early_stopping": True},
    "beams, short favoured": {**BEAMS, "length_penalty": -1.0, "early_stopping": "never"},
    "beams, no repetition": {**BEAMS, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    "16 beams": {"num_beams": 16, "do_sample": False, "num_return_sequences": 2},
    "greedy, no repetition": {**GREEDY, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    "greedy, at least": {**GREEDY, "min_new_tokens": 20},
    "greedy, without words": {**GREEDY, "bad_words_ids": [[5], [10, 11]], "suppress_tokens": [100, 101]},
    "greedy, biased": {**GREEDY, "sequence_bias": [[[42], 4.0]]},
    "greedy, stopped": {**GREEDY, "stop_strings": ["e", "zz"]},
    "beams, stopped": {**BEAMS, "stop_strings": ["e"]},
    "greedy, looked up": {**GREEDY, "prompt_lookup_num_tokens": 3},
    "greedy, static cache": {**GREEDY, "cache_implementation": "static"},
    "sampled": SAMPLED,
    "sampled, several": {**SAMPLED, "num_return_sequences": 3},
    "sampled, cut": {**SAMPLED, "min_p": 0.05, "typical_p": 0.9},
    "beams, sampled": {**SAMPLED, "num_beams": 3, "num_return_sequences": 2},
}


def wanted(reference: "Reference", request: dict[str, Any], prompt: str = PROMPT) -> list[list[int]]:
    """What transformers answers to a request, told in its own words."""
    rest = {name: value for name, value in request.items() if name != "max_new_tokens"}
    return reference.tokens(prompt, max_length=request["max_new_tokens"], **rest)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_equals_transformers_own(tiny: Served, reference: "Reference", shape: str) -> None:
    """Token for token, for every way to search and to shape the search; a sampled one by its seed."""
    request = {"max_new_tokens": 60, **SHAPES[shape], **({"seed": 11} if SHAPES[shape]["do_sample"] else {})}
    expected = wanted(reference, request)
    answer = tiny.predict({"prompt": PROMPT, **request}).json()
    assert answer["status"] == "success", answer
    assert answer["data"] == [reference.text(tokens) for tokens in expected]
    assert answer["usage"]["completion_tokens"] == sum(len(tokens) for tokens in expected)


def test_a_bare_prompt_is_answered_as_the_contract_says(tiny: Served, reference: "Reference") -> None:
    """Four beams over the model's own do_sample, and as much as the context holds."""
    (expected,) = reference.tokens(PROMPT, max_length=256, num_beams=4, do_sample=False)
    answer = tiny.predict({"prompt": PROMPT}).json()
    assert answer["data"] == [reference.text(expected)]
    assert (answer["model"], answer["revision"]) == ("meta-llama/tiny", None)


def test_a_batch_equals_its_prompts_alone(tiny: Served, reference: "Reference") -> None:
    """Neither padding nor neighbours change an answer."""
    prompts = [PROMPT, "🦙", "A llama grazes on the Altiplano; it is"]
    answer = tiny.predict({"prompt": prompts, "max_new_tokens": 70, **BEAMS}).json()
    expected = [wanted(reference, {"max_new_tokens": 70, **BEAMS}, prompt)[0] for prompt in prompts]
    assert answer["data"] == [reference.text(tokens) for tokens in expected]


def test_messages_equal_the_rendered_prompt(tiny: Served, reference: "Reference") -> None:
    """The template writes the start token, which is not written twice."""
    messages = [{"role": "user", "content": "Hello"}]
    rendered = reference.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered.startswith("<s>")
    chat = tiny.predict({"messages": messages, "max_new_tokens": 60, **GREEDY}).json()
    plain = tiny.predict({"prompt": rendered.removeprefix("<s>"), "max_new_tokens": 60, **GREEDY}).json()
    assert (chat["data"], chat["usage"]) == (plain["data"], plain["usage"])


def test_a_role_that_the_template_refuses_is_answered_400(tiny: Served) -> None:
    """In the template's own words."""
    status, code, param, message = errors(tiny.predict({"messages": [{"role": "wizard", "content": "hi"}]}))
    assert (status, code, param) == (400, "invalid_parameter", "messages")
    assert "unknown role wizard" in message


STREAMED: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "sampled": {**SAMPLED, "seed": 3},
    "several": {**SAMPLED, "seed": 5, "num_return_sequences": 3},
    "stopped": {**SAMPLED, "seed": 3, "stop_strings": ["e", "a"]},
    "several, stopped": {**SAMPLED, "seed": 8, "num_return_sequences": 4, "stop_strings": ["e"]},
    "several ends": {**SAMPLED, "seed": 9, "num_return_sequences": 4, "eos_token_id": list(range(1, 390, 9))},
    "hot": {**SAMPLED, "seed": 21, "temperature": 5.0, "top_k": 0, "top_p": 1.0},
    "in front": {**SAMPLED, "seed": 3, "return_full_text": True},
    "guessed": {**GREEDY, "prompt_lookup_num_tokens": 4},
    "batch": {**SAMPLED, "seed": 3, "prompt": [PROMPT, "🦙 and"]},
}


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_joined_is_the_unstreamed_text(tiny: Served, name: str) -> None:
    """Byte for byte, with characters that take several tokens and rows that end at different steps."""
    request = {"prompt": PROMPT, "max_new_tokens": 90, **STREAMED[name]}
    whole = tiny.predict(request).json()
    *steps, last, done = tiny.events(request)
    texts, tokens = [""] * len(whole["data"]), 0
    for step in steps:
        event = json.loads(step.removeprefix("data: "))
        texts[event["index"]] += event["text"]
        tokens += len(event["token_ids"])
    ending = json.loads(last.removeprefix("data: "))
    assert [text.encode() for text in texts] == [text.encode() for text in whole["data"]]
    assert (ending["finish_reason"], ending["usage"]) == (whole["finish_reason"], whole["usage"])
    assert tokens == whole["usage"]["completion_tokens"]
    assert done == "data: [DONE]"


def test_a_seed_repeats_and_another_does_not(tiny: Served) -> None:
    """Whatever ran in between."""
    request = {"prompt": PROMPT, "max_new_tokens": 60, **SAMPLED}
    first = tiny.predict({**request, "seed": 1}).json()["data"]
    tiny.predict({**request, "seed": 2})
    assert tiny.predict({**request, "seed": 1}).json()["data"] == first
    assert tiny.predict({**request, "seed": 2}).json()["data"] != first
    assert tiny.predict(request).json()["data"] != tiny.predict(request).json()["data"]


def test_an_end_token_a_stop_string_and_the_room_are_told_apart(tiny: Served, reference: "Reference") -> None:
    """By the reason, for beams as well."""
    (tokens,) = wanted(reference, {"max_new_tokens": 40, **GREEDY})
    ask = {"prompt": PROMPT, "max_new_tokens": 40}
    for search in (GREEDY, BEAMS):
        assert tiny.predict({**ask, **search}).json()["finish_reason"] == ["length"]
    ended = tiny.predict({**ask, **GREEDY, "eos_token_id": tokens[6]}).json()
    assert ended["finish_reason"] == ["stop"]
    assert ended["usage"]["completion_tokens"] == tokens.index(tokens[6]) + 1
    for search in (GREEDY, BEAMS):
        stopped = tiny.predict({**ask, **search, "stop_strings": list("etaoinsr ")}).json()
        assert stopped["finish_reason"] == ["stop"]


def test_a_stop_string_may_begin_in_the_prompt(tiny: Served, reference: "Reference") -> None:
    """It stops as in transformers, and the reason says so."""
    always = reference.tokenizer.convert_tokens_to_ids("A")
    request = {"max_new_tokens": 40, **GREEDY, "sequence_bias": [[[always], 1000.0]]}
    stop = PROMPT[-3:] + "A"
    answer = tiny.predict({"prompt": PROMPT, **request, "stop_strings": stop}).json()
    assert [reference.text(tokens) for tokens in wanted(reference, {**request, "stop_strings": [stop]})] == ["A"]
    assert (answer["data"], answer["finish_reason"]) == (["A"], ["stop"])


@pytest.mark.parametrize("search", [GREEDY, BEAMS])
def test_max_time_ends_with_what_is_there(tiny: Served, search: dict[str, Any]) -> None:
    """The reason is time, and there is an answer."""
    answer = tiny.predict({"prompt": PROMPT, "max_new_tokens": 250, "max_time": 1e-6, **search}).json()
    assert answer["finish_reason"] == ["time"]
    assert answer["usage"]["completion_tokens"] == 1


VALUES: dict[str, list[Any]] = {
    "max_length": [20],
    "min_length": [12],
    "min_new_tokens": [3],
    "max_time": [5],
    "stop_strings": ["e"],
    "early_stopping": [True, "never"],
    "num_return_sequences": [2],
    "length_penalty": [0, -3],
    "repetition_penalty": [0.5, 1e6],
    "encoder_repetition_penalty": [1.5],
    "no_repeat_ngram_size": [1, 2**31 - 1],
    "encoder_no_repeat_ngram_size": [1],
    "min_p": [0, 1],
    "typical_p": [0.2, 1],
    "top_h": [0.3],
    "epsilon_cutoff": [0, 0.9],
    "eta_cutoff": [0, 0.9],
    "guidance_scale": [0, 1.5],
    "renormalize_logits": [True],
    "remove_invalid_values": [True],
    "bad_words_ids": [[[1]], [[7, 8]]],
    "suppress_tokens": [[3], list(range(392))],
    "begin_suppress_tokens": [[3]],
    "sequence_bias": [[[[5, 7], -2.0]]],
    "exponential_decay_length_penalty": [[2, 1.5]],
    "forced_bos_token_id": [4],
    "forced_eos_token_id": [1, [1, 2]],
    "bos_token_id": [3],
    "eos_token_id": [5, [5, 6]],
    "pad_token_id": [0],
    "decoder_start_token_id": [0],
    "watermarking_config": [{}, {"bias": 2.0, "seeding_scheme": "selfhash"}],
    "prompt_lookup_num_tokens": [2],
    "max_matching_ngram_size": [2],
    "use_cache": [False],
    "cache_implementation": ["dynamic", "static", "offloaded"],
    "prefill_chunk_size": [1, 3],
}


def test_the_values_here_are_of_every_parameter() -> None:
    """One that is added without a value here is noticed."""
    assert set(VALUES) == set(GENERATION)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("search", [GREEDY, SAMPLED, {"num_beams": 2, "do_sample": True}])
def test_a_parameter_within_its_bounds_is_never_the_servers_fault(
    tiny: Served, name: str, search: dict[str, Any]
) -> None:
    """It is answered, or refused with what to do; and the next request is answered."""
    for value in VALUES[name]:
        answer = tiny.predict({"prompt": PROMPT, "max_new_tokens": 24, **search, name: value})
        if answer.status_code != 200:
            status, _, _, message = errors(answer)
            assert status == 400, (value, message)
    assert tiny.predict({"prompt": PROMPT, "max_new_tokens": 12, **GREEDY}).status_code == 200


def test_a_choice_without_an_end_token_ends_when_it_is_whole(tiny: Served) -> None:
    """Each row where its own does, while the others go on."""
    options = ["a", "b c", "d e f", "g h i j", "k l m n o"]
    (model,) = tiny.client.get("/v1/models").json()["data"]
    body = {"model": model["id"], "prompt": PROMPT, "guided_choice": options, "ignore_eos": True}
    drawn = {"temperature": 2, "top_k": -1, "n": 8, "seed": 1, "max_tokens": 60}
    answer = tiny.client.post("/v1/completions", json={**body, **drawn})
    assert answer.status_code == 200, answer.text
    found = {(choice["text"], choice["finish_reason"]) for choice in answer.json()["choices"]}
    assert len(found) > 1
    assert found <= {(text, "stop") for text in options}
    assert tiny.client.post("/v1/completions", json={**body, "num_beams": 3}).json()["error"]["param"] == "num_beams"


def test_scores_that_leave_no_token_are_answered_400(tiny: Served) -> None:
    """On a GPU they would end the device's context, and every other request with it."""
    status, _, _, message = errors(tiny.predict({"prompt": PROMPT, **SAMPLED, "suppress_tokens": list(range(392))}))
    assert status == 400
    assert "leave no token to choose" in message


def test_every_field_of_transformers_is_taken_or_refused() -> None:
    """A new version of transformers cannot add one unseen."""
    import transformers  # noqa: PLC0415 - seconds, paid by slow tests only

    fields = {name for name in transformers.GenerationConfig().to_dict() if not name.startswith("_")}
    llama: Any = transformers.LlamaForCausalLM
    arguments = set(inspect.signature(llama.generate).parameters) - {"self", "kwargs"}
    assert fields | arguments <= set(PARAMETERS) | set(REFUSED)
    assert set(GENERATION) <= fields
