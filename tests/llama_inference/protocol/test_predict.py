"""From the wire to a generation: input, defaults, contradictions, and the room that a prompt leaves."""

import json
from typing import Any

import pytest

from llama_inference.errors import InvalidRequestError
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.predict import decode, parse, plan
from llama_inference.values import Generation, ModelInfo

MODEL = ModelInfo(max_context=256, vocabulary=100, defaults={"do_sample": True, "eos_token_id": [1, 2]})
GREEDY = ModelInfo(max_context=8192, vocabulary=100)


def generation(
    wire: dict[str, Any], *, tokens: int = 5, model: ModelInfo = MODEL, limits: Limits | None = None
) -> Generation:
    """What a backend would run, for prompts of that many tokens."""
    asked = parse({"prompt": "x", **wire}, model, limits or Limits())
    return plan(asked, [range(tokens)] * max(1, len(asked.prompts)), model)


def refusal(wire: dict[str, Any], **given: Any) -> InvalidRequestError:
    """The error of a request that is not taken."""
    with pytest.raises(InvalidRequestError) as caught:
        generation(wire, **given)
    return caught.value


def test_a_bare_prompt_runs_with_the_contracts_defaults() -> None:
    """Four beams, the contract's temperature, top_p and top_k, 512 tokens, and the model's own do_sample."""
    found = generation({}, model=ModelInfo(max_context=4096, vocabulary=9, defaults={"do_sample": True}))
    assert found == Generation(
        prompts=((0, 1, 2, 3, 4),),
        max_tokens=512,
        parameters={"num_beams": 4, "temperature": 0.1, "top_p": 0.75, "top_k": 40, "do_sample": True},
    )


@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"temperature": 1.0}])
def test_a_request_without_input_is_refused(body: dict[str, Any]) -> None:
    """Neither prompt nor messages."""
    with pytest.raises(InvalidRequestError) as caught:
        parse(body, MODEL, Limits())
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("prompt", ["", [], [""], ["a", ""], ["a", 1], 7, {"text": "a"}, [["a"]], True, "\ud800"])
def test_a_prompt_is_text_or_texts(prompt: Any) -> None:
    """Non-empty strings, and half of a surrogate pair is none."""
    error = refusal({"prompt": prompt})
    assert (error.param, error.code) == ("prompt", "invalid_parameter")


def test_a_batch_has_a_largest_size() -> None:
    """128 prompts go in one request, the next does not."""
    assert len(generation({"prompt": ["x"] * 128}).prompts) == 128
    assert "129" in str(refusal({"prompt": ["x"] * 129}))


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "hi",
        {"role": "user", "content": "hi"},
        ["hi"],
        [{"role": "user"}],
        [{"content": "hi"}],
        [{"role": "user", "content": 1}],
        [{"role": "user", "content": "hi", "name": "x"}],
        [{"role": "user", "content": "\udfff"}],
        [{"role": "user", "content": "hi"}, 7],
    ],
)
def test_messages_are_roles_with_contents(messages: Any) -> None:
    """A non-empty list of exactly role and content, both strings."""
    with pytest.raises(InvalidRequestError) as caught:
        parse({"messages": messages}, MODEL, Limits())
    assert (caught.value.param or "").startswith("messages")


def test_prompt_and_messages_exclude_each_other() -> None:
    """One of the two."""
    assert "not both" in str(refusal({"messages": [{"role": "user", "content": "hi"}]}))


def test_null_is_as_good_as_absent() -> None:
    """Clients write null for what they do not set."""
    assert generation({"temperature": None, "max_new_tokens": None}) == generation({})


def test_null_is_as_good_as_absent_for_the_two_inputs_and_within_them() -> None:
    """A client that knows both fields writes null for one; at any depth it means the same."""
    chat = [{"role": "user", "content": "hi"}]
    asked = parse({"prompt": None, "messages": [{**chat[0], "name": None}]}, MODEL, Limits())
    assert asked.messages == tuple(chat)
    assert parse({"prompt": "x", "messages": None}, MODEL, Limits()).prompts == ("x",)


def test_max_new_tokens_counts_the_prompt() -> None:
    """Prompt and output together: a prompt of five in seven tokens leaves two."""
    assert generation({"max_new_tokens": 7}).max_tokens == 7
    assert generation({"max_new_tokens": 6}).max_tokens == 6


def test_a_prompt_without_room_is_told_its_length_and_what_works() -> None:
    """400 with the prompt's token count and the smallest value, which then works."""
    error = refusal({"max_new_tokens": 5})
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "max_new_tokens")
    assert "prompt has 5 tokens" in str(error)
    assert str(error).endswith("the smallest max_new_tokens that works is 6")
    assert generation({"max_new_tokens": 6}).max_tokens == 6


def test_a_prompt_that_fills_the_context_is_told_to_be_shortened() -> None:
    """No value of max_new_tokens would help."""
    error = refusal({}, tokens=256)
    assert (error.code, error.param) == ("context_length_exceeded", "prompt")
    assert "256" in str(error)
    assert generation({}, tokens=255).max_tokens == 256


def test_one_prompt_of_a_batch_without_room_refuses_the_batch() -> None:
    """The others are not run: the caller could not tell which answer is whose."""
    asked = parse({"prompt": ["a", "b"], "max_new_tokens": 8}, MODEL, Limits())
    with pytest.raises(InvalidRequestError, match="prompt has 8 tokens"):
        plan(asked, [range(3), range(8)], MODEL)


def test_defaults_are_lowered_to_the_models_context_but_a_request_is_not() -> None:
    """The contract's 512 fits any model; what a caller asks for is refused, not silently cut."""
    assert generation({}).max_tokens == 256
    error = refusal({"max_new_tokens": 257})
    assert (error.code, error.param) == ("context_length_exceeded", "max_new_tokens")
    assert generation({"max_new_tokens": 4096}, model=GREEDY).max_tokens == 4096


def test_an_empty_prompt_in_tokens_is_refused() -> None:
    """There must be something to continue."""
    assert refusal({}, tokens=0).param == "prompt"


def test_max_length_is_another_name_of_the_same_bound() -> None:
    """Alone it replaces the default, together the smaller one counts, and it is held to the same maximum."""
    assert generation({"max_length": 9}, model=GREEDY).max_tokens == 9
    assert generation({"max_length": 900}, model=GREEDY).max_tokens == 900
    assert generation({"max_length": 9, "max_new_tokens": 7}).max_tokens == 7
    assert refusal({"max_length": 9}, limits=Limits(maximums={"max_new_tokens": 8})).param == "max_length"


@pytest.mark.parametrize("name", ["min_new_tokens", "min_length"])
def test_a_minimum_beyond_the_room_is_refused(name: str) -> None:
    """It could never be met."""
    error = refusal({name: 11, "max_new_tokens": 10})
    assert (error.param, error.code) == (name, "invalid_parameter")
    assert generation({"min_new_tokens": 5, "max_new_tokens": 10}).parameters["min_new_tokens"] == 5


def test_a_stream_has_one_beam_unless_it_asks_for_more() -> None:
    """Not given, also by the deployment: 1. Given above 1: refused, with the reason."""
    assert generation({"stream": True}).parameters["num_beams"] == 1
    assert generation({"stream": True}, limits=Limits(defaults={"num_beams": 8})).parameters["num_beams"] == 1
    assert generation({"stream": True, "num_beams": 1}).streamed
    error = refusal({"stream": True, "num_beams": 2})
    assert error.param == "num_beams"
    assert "beams are not final until the end" in str(error)


def test_temperature_zero_is_greedy() -> None:
    """Nothing is drawn, and what shapes a draw is left out."""
    found = generation({"temperature": 0, "do_sample": True, "num_beams": 1, "min_p": 0.1})
    assert found.parameters == {"num_beams": 1, "do_sample": False, "eos_token_id": [1, 2]}


def test_the_models_own_do_sample_counts() -> None:
    """As transformers does; a request that says otherwise wins."""
    assert generation({}).parameters["do_sample"] is True
    assert generation({}, model=GREEDY).parameters["do_sample"] is False
    assert generation({"do_sample": False}).parameters["do_sample"] is False


def test_beams_with_sampling_keep_both() -> None:
    """Beam sampling."""
    found = generation({"num_beams": 3, "do_sample": True, "temperature": 0.7})
    assert (found.parameters["num_beams"], found.parameters["do_sample"]) == (3, True)
    assert found.parameters["temperature"] == 0.7


def test_what_counts_for_beams_only_is_left_out_without_beams() -> None:
    """Else transformers warns at each request."""
    wire = {"num_beams": 1, "length_penalty": 2.0, "early_stopping": True}
    assert not {"length_penalty", "early_stopping"} & set(generation(wire).parameters)
    assert generation({**wire, "num_beams": 2}).parameters["length_penalty"] == 2.0


@pytest.mark.parametrize(
    ("wire", "param", "words"),
    [
        ({"num_return_sequences": 5}, "num_return_sequences", "more than the 4 of num_beams"),
        ({"num_return_sequences": 2, "num_beams": 1, "do_sample": False}, "num_return_sequences", "or num_beams to 2"),
        (
            {"num_return_sequences": 2, "stream": True, "do_sample": False},
            "num_return_sequences",
            "set do_sample to true with a temperature above 0",
        ),
        ({"prompt_lookup_num_tokens": 3, "num_beams": 2}, "prompt_lookup_num_tokens", "needs num_beams 1"),
    ],
)
def test_values_that_contradict_each_other_are_refused(wire: dict[str, Any], param: str, words: str) -> None:
    """The message names both, and what would do."""
    error = refusal(wire)
    assert (error.status, error.param) == (400, param)
    assert words in str(error)


def test_a_stream_is_not_told_to_take_beams() -> None:
    """The way out must be one that a stream can go."""
    assert "num_beams to" not in str(refusal({"num_return_sequences": 2, "stream": True, "do_sample": False}))


def test_the_parameters_of_the_run_stand_apart() -> None:
    """Seed, time, stop strings and sequences are the backend's own; the rest goes to transformers as it is."""
    wire = {"seed": 7, "max_time": 2, "stop_strings": "END", "num_return_sequences": 2, "repetition_penalty": 1.5}
    found = generation(wire)
    assert (found.seed, found.max_time, found.stop_strings, found.sequences) == (7, 2.0, ("END",), 2)
    assert found.parameters["repetition_penalty"] == 1.5
    assert not {"seed", "max_time", "stop_strings", "stream", "return_full_text"} & set(found.parameters)


def test_a_models_file_sets_only_what_a_request_could() -> None:
    """Neither bookkeeping nor what loads code comes in by the model's generation_config.json."""
    odd = ModelInfo(
        max_context=99,
        vocabulary=9,
        defaults={"_from_model_config": True, "custom_generate": "x/y", "transformers_version": "5", "min_p": 0.1},
    )
    parameters = generation({"do_sample": True}, model=odd).parameters
    assert parameters["min_p"] == 0.1
    assert not {"_from_model_config", "custom_generate", "transformers_version"} & set(parameters)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\x00", b"nul", b'{"a": Infinity}'])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """With a code of its own."""
    with pytest.raises(InvalidRequestError) as caught:
        decode(body)
    assert caught.value.code == "invalid_json"


def test_a_json_object_is_decoded() -> None:
    """In UTF-8, as JSON is."""
    assert decode(json.dumps({"prompt": "🦙"}, ensure_ascii=False).encode()) == {"prompt": "🦙"}
