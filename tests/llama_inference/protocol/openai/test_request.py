"""OpenAI's requests: their defaults, their names, and what is refused with its reason."""

from typing import Any

import pytest

from llama_inference.errors import InvalidRequestError, NotFoundError
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.openai.fields import UNSUPPORTED, WITHOUT_EFFECT, Endpoint
from llama_inference.protocol.openai.request import OpenAIRequest, check_model, parse, plan
from llama_inference.values import Generation, ModelInfo

MODEL = ModelInfo(
    max_context=100,
    vocabulary=50,
    defaults={"temperature": 0.6, "top_p": 0.9, "do_sample": False, "eos_token_id": 7, "repetition_penalty": 1.1},
)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
COMPLETION = {"model": "m", "prompt": "hi"}
NO_LIMITS = Limits()


def chat(limits: Limits = NO_LIMITS, **given: Any) -> OpenAIRequest:
    """A checked chat."""
    return parse({**CHAT, **given}, Endpoint.CHAT, MODEL, limits)


def parsed(given: dict[str, Any]) -> OpenAIRequest:
    """A checked chat, given by name."""
    return chat(NO_LIMITS, **given)


def completion(limits: Limits = NO_LIMITS, **given: Any) -> OpenAIRequest:
    """A checked completion."""
    return parse({**COMPLETION, **given}, Endpoint.COMPLETION, MODEL, limits)


def planned(asked: OpenAIRequest, *tokens: int) -> Generation:
    """What a backend gets for prompts of so many tokens."""
    return plan(asked, [[1] * count for count in tokens or (5,)])


def refusal(given: dict[str, Any], *, of: Any = completion, limits: Limits = NO_LIMITS) -> tuple[str | None, str]:
    """Param and message of a request that is not taken, when its prompt has five tokens."""
    with pytest.raises(InvalidRequestError) as caught:
        planned(of(limits, **given))
    return caught.value.param, str(caught.value)


def test_the_defaults_are_openais() -> None:
    """Sampling at temperature 1 from everything, one beam; not those of predict, nor the model's taste."""
    generation = planned(chat())
    wanted = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "num_beams": 1}
    assert wanted.items() <= generation.parameters.items()
    assert (generation.sequences, generation.streamed, generation.stop_strings) == (1, False, ())


def test_what_the_model_needs_is_kept() -> None:
    """Its end token and its own penalty: they are no matter of the API."""
    assert planned(chat()).parameters["eos_token_id"] == 7
    assert planned(chat()).parameters["repetition_penalty"] == 1.1


def test_the_deployments_defaults_hold_where_they_mean_the_same() -> None:
    """Not the bound on prompt and output together, and not predict's beams."""
    limits = Limits.parse({"temperature": 0.3, "max_new_tokens": 8, "num_beams": 4}, {})
    generation = planned(chat(limits))
    assert (generation.parameters["temperature"], generation.parameters["num_beams"]) == (0.3, 1)
    assert (generation.max_tokens, generation.max_output) == (100, None)
    assert planned(chat(limits, temperature=0.5)).parameters["temperature"] == 0.5


def test_the_deployments_maximums_hold() -> None:
    """For what is given, for OpenAI's defaults, and for prompt and output together."""
    limits = Limits.parse({}, {"temperature": 0.8, "num_return_sequences": 2, "max_new_tokens": 20})
    assert refusal({"temperature": 0.9}, limits=limits)[0] == "temperature"
    assert refusal({"n": 3}, limits=limits)[1].startswith("n is 3; this deployment allows at most 2")
    assert planned(chat(limits)).parameters["temperature"] == 0.8
    assert planned(chat(limits)).max_tokens == 20
    assert refusal({"max_tokens": 16}, limits=limits)[0] == "max_tokens"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_chats_bound_is_on_the_output_alone(name: str) -> None:
    """Under both of its names; by default what the context leaves."""
    assert planned(parsed({name: 30})).max_output == 30
    assert planned(chat()).max_output is None
    assert [planned(parsed({name: 30})).length(count) for count in (5, 90)] == [35, 100]


def test_a_completion_has_sixteen_tokens_by_default() -> None:
    """Each prompt of a batch has as many, however long it is, or what the context leaves."""
    generation = planned(completion(prompt=["a", "b", "c"]), 3, 20, 95)
    assert [generation.length(len(prompt)) for prompt in generation.prompts] == [19, 36, 100]


def test_no_room_for_what_is_asked_names_the_largest_bound_that_works() -> None:
    """With the numbers that lead to it."""
    with pytest.raises(InvalidRequestError, match="the largest max_tokens that works is 60") as caught:
        planned(completion(max_tokens=61), 40)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "max_tokens")
    with pytest.raises(InvalidRequestError, match="and messages has 100: shorten it") as caught:
        planned(chat(), 100)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(InvalidRequestError, match="max_tokens 0 reads a prompt by computing one token"):
        planned(completion(max_tokens=0, echo=True), 100)


def test_fields_have_their_names_here() -> None:
    """n, stop, logit_bias, seed and the penalties reach the backend under its own names."""
    generation = planned(
        completion(n=3, stop=["a", "b"], logit_bias={"4": -100}, seed=-1, presence_penalty=1, frequency_penalty=-1)
    )
    assert (generation.sequences, generation.stop_strings) == (3, ("a", "b"))
    assert generation.seed == 2**63 - 1
    wanted = {"sequence_bias": [[[4], -100.0]], "presence_penalty": 1.0, "frequency_penalty": -1.0}
    assert wanted.items() <= generation.parameters.items()


def test_stop_is_cut_off_and_stop_strings_are_not() -> None:
    """OpenAI's field and this server's differ in that."""
    assert completion(stop="END").cut == ("END",)
    own = completion(stop_strings="END")
    assert (own.cut, planned(own).stop_strings) == ((), ("END",))


def test_temperature_zero_is_greedy() -> None:
    """And what only sampling knows is gone."""
    generation = planned(chat(temperature=0))
    assert generation.parameters["do_sample"] is False
    assert not {"temperature", "top_p", "top_k"} & set(generation.parameters)


def test_own_parameters_are_taken_beside_openais() -> None:
    """As clients send them by extra_body."""
    generation = planned(chat(top_k=5, repetition_penalty=1.3, num_beams=4, n=4, min_new_tokens=2))
    assert {"top_k": 5, "repetition_penalty": 1.3, "num_beams": 4}.items() <= generation.parameters.items()


NOTHING: dict[str, Any] = {
    "user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "tools": [], "tool_choice": "auto",
    "response_format": {"type": "text"}, "logprobs": False, "modalities": ["text"], "parallel_tool_calls": True,
    "presence_penalty": 0, "frequency_penalty": 0, "reasoning_effort": "high", "verbosity": "medium", "top_k": -1,
    "max_tokens": None, "stop": [], "logit_bias": {}, "stream_options": {"include_usage": False},
    "functions": [], "function_call": "auto", "max_completion_tokens": -1, "skip_special_tokens": True,
    "ignore_eos": False, "stop_token_ids": [], "min_tokens": None, "add_generation_prompt": True, "seed": None,
    "continue_final_message": False, "chat_template_kwargs": {}, "include_stop_str_in_output": False, "priority": 0,
    "add_special_tokens": False, "cache_salt": "x", "use_beam_search": False, "return_token_ids": False,
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_what_asks_for_nothing_is_taken(name: str) -> None:
    """Clients send it without a thought, and the text is the same."""
    asked = parsed({name: NOTHING[name]})
    assert (planned(asked), asked.cut, asked.special, asked.template) == (
        planned(chat()), (), False, {"add_generation_prompt": True},
    )  # fmt: skip


def test_what_asks_for_nothing_is_taken_together() -> None:
    """As a client of typed languages writes out all that it knows."""
    assert planned(parsed(NOTHING)) == planned(chat())


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_a_field_that_is_not_done_is_taken_only_where_it_asks_for_nothing(name: str) -> None:
    """As the page on OpenAI's API lists it; else the answer is 400 with its name."""
    values, _ = UNSUPPORTED[name]
    for harmless in (None, *values):
        assert planned(parsed({name: harmless})) == planned(chat())
    param, message = refusal({name: {"asks": "for something"}}, of=chat)
    assert (param, message.startswith(f"{name} is not supported: ")) == (name, True)


@pytest.mark.parametrize("name", sorted(WITHOUT_EFFECT))
def test_a_field_without_effect_is_taken_whatever_it_says(name: str) -> None:
    """On both routes."""
    for value in (None, True, 1, "x", [], {"a": 1}):
        assert planned(parsed({name: value})) == planned(chat())
        asked = parse({**COMPLETION, name: value}, Endpoint.COMPLETION, MODEL, NO_LIMITS)
        assert planned(asked) == planned(completion())


def test_tools_that_are_switched_off_are_no_hindrance() -> None:
    """With `tool_choice: none` the answer is text, which is what there is."""
    assert planned(chat(tools=[{"type": "function"}], tool_choice="none")) == planned(chat())
    assert planned(chat(functions=[{"name": "f"}], function_call="none")) == planned(chat())


def test_top_p_zero_leaves_the_likeliest_token_alone() -> None:
    """OpenAI's range has 0 in it."""
    assert planned(chat(top_p=0)) == planned(chat(temperature=0)) == planned(chat(top_p=0, temperature=0))


def test_n_choices_without_drawing_are_the_same_prompt_n_times() -> None:
    """They are equal, which is what was asked for; each stands for itself in the batch."""
    generation = planned(completion(n=3, temperature=0, prompt=["a", "b"]), 2, 4)
    assert [len(prompt) for prompt in generation.prompts] == [2, 2, 2, 4, 4, 4]
    assert (generation.sequences, completion(n=3, temperature=0).copies) == (1, 3)
    drawn = completion(n=3)
    assert (drawn.copies, planned(drawn).sequences) == (1, 3)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_minus_one_is_what_the_context_leaves(name: str) -> None:
    """As llama.cpp and LangChain have it, on both routes."""
    assert planned(parsed({name: -1})).max_output is None
    if name == "max_tokens":
        assert planned(completion(max_tokens=-1)).max_output is None


def test_no_token_of_output_is_a_bound_as_well() -> None:
    """A completion that is to show its prompt alone."""
    assert completion(max_tokens=0, echo=True).max_output == 0
    assert refusal({"max_tokens": 0}, of=chat)[0] == "max_tokens"


def test_vllms_names_are_known() -> None:
    """Least tokens, end tokens that are ignored or added, and a stop string that stays in the text."""
    assert planned(completion(min_tokens=3)).parameters["min_new_tokens"] == 3
    assert planned(completion(ignore_eos=True)).parameters["eos_token_id"] == []
    assert planned(completion(stop_token_ids=[3, 4])).parameters["eos_token_id"] == [7, 3, 4]
    assert planned(completion(stop_token_ids=[3], ignore_eos=True)).parameters["eos_token_id"] == [3]
    kept = completion(stop=["END"], include_stop_str_in_output=True)
    assert (kept.cut, kept.cut_after, planned(kept).stop_strings) == (("END",), True, ("END",))
    assert planned(kept).stops_begin_in_prompt is False


def test_a_refusal_names_the_field_as_it_was_written() -> None:
    """Not by the name that a backend knows it by."""
    tgi = ModelInfo(max_context=100, vocabulary=50, backend="tgi")
    for given in ({"logit_bias": {"4": 1}}, {"min_tokens": 3}, {"ignore_eos": True}):
        (name,) = given
        with pytest.raises(InvalidRequestError, match=rf"^{name} is .*; native") as caught:
            parse({**COMPLETION, **given}, Endpoint.COMPLETION, tgi, NO_LIMITS)
        assert caught.value.param == name


def test_a_chat_is_rendered_as_the_request_says() -> None:
    """With the template's own variables, and for an answer that has begun already."""
    begun = [*CHAT["messages"], {"role": "assistant", "content": "The"}]
    assert chat(chat_template_kwargs={"enable_thinking": False}).template == {
        "enable_thinking": False, "add_generation_prompt": True,
    }  # fmt: skip
    assert chat(messages=begun, continue_final_message=True).template == {
        "add_generation_prompt": False, "continue_final_message": True,
    }  # fmt: skip
    assert chat(add_generation_prompt=False).template == {"add_generation_prompt": False}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"continue_final_message": True}, "continue_final_message"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
        ({"chat_template_kwargs": {"chat_template": "{{ 1 }}"}}, "chat_template_kwargs.chat_template"),
        ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
        ({"chat_template_kwargs": {"no name": 1}}, "chat_template_kwargs.no name"),
        ({"chat_template_kwargs": "x"}, "chat_template_kwargs"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
    ],
)
def test_what_is_no_matter_of_the_template_is_refused(given: dict[str, Any], param: str) -> None:
    """A request can neither replace the template nor say what becomes of the text."""
    assert refusal(given, of=chat)[0] == param


@pytest.mark.parametrize(
    ("given", "param", "words"),
    [
        ({"logprobs": 21}, "logprobs", "from 0 to 20"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "json_schema"),
        ({"guided_json": {}, "guided_regex": "a"}, "guided_regex", "not both"),
        ({"tools": [{"type": "function"}]}, "tools", "calls no tools"),
        ({"tool_choice": "required"}, "tool_choice", "calls no tools"),
        ({"tools": [{"type": "function"}], "tool_choice": "auto"}, "tools", "calls no tools"),
        ({"skip_special_tokens": False}, "skip_special_tokens", "no part of the text"),
        ({"use_beam_search": True}, "use_beam_search", "num_beams"),
        ({"verbosity": "low"}, "verbosity", "how long the answer is to be"),
        ({"min_tokens": 2, "min_new_tokens": 2}, "min_new_tokens", "not both"),
        ({"ignore_eos": True, "eos_token_id": 3}, "eos_token_id", "not both"),
        ({"stop_token_ids": [1, 50]}, "stop_token_ids[1]", "0 to 49"),
        ({"top_k": -2}, "top_k", "from -1"),
        ({"max_tokens": -2}, "max_tokens", "from -1"),
        ({"suffix": "end"}, "suffix", "fill a gap"),
        ({"max_new_tokens": 5}, "max_new_tokens", "max_tokens bounds the output alone"),
        ({"num_return_sequences": 2}, "num_return_sequences", "called n"),
        ({"temperature": 2.1}, "temperature", "at most 2"),
        ({"temperature": "hot"}, "temperature", 'it is "hot"'),
        ({"top_p": -0.1}, "top_p", "at least 0"),
        ({"n": 0}, "n", "from 1"),
        ({"n": 3, "num_beams": 2}, "n", "more than the 2"),
        ({"presence_penalty": 2.5}, "presence_penalty", "at most 2"),
        ({"max_tokens": 0}, "max_tokens", "with echo alone"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", 'must be a token id from 0 to 49; it is "x"'),
        ({"logit_bias": {"50": 1}}, "logit_bias.50", "0 to 49"),
        ({"logit_bias": {"5": "1"}}, "logit_bias.5", 'must be a number at least -100 and at most 100; it is "1"'),
        ({"logit_bias": {"1_0": 1}}, "logit_bias.1_0", "must be a token id"),
        ({"logit_bias": []}, "logit_bias", "must be an object of token ids"),
        (
            {"stream": True, "stream_options": {"include_usage": "x"}},
            "stream_options.include_usage",
            'must be true or false; it is "x"',
        ),
        ({"stream": True, "stream_options": {"usage": 1}}, "stream_options.usage", "is none of its fields"),
        (
            {"logit_bias": {f"{token:04}": 1 for token in range(1025)}},
            "logit_bias",
            "at most 1024 token ids, and holds 1025",
        ),
        ({"stop": [""]}, "stop", "non-empty"),
        ({"stop": "a", "stop_strings": "b"}, "stop_strings", "not both"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream to be true"),
        ({"stream": True, "num_beams": 2}, "num_beams", "a stream needs 1"),
        ({"best_of": 3}, "best_of", "n is 1"),
        ({"temprature": 1}, "temprature", "did you mean temperature?"),
        ({"trust_remote_code": True}, "trust_remote_code", "code"),
        ({"min_new_tokens": 17}, "min_new_tokens", "room for 16"),
        ({"prompt": ""}, "prompt", "not empty"),
        ({"prompt": []}, "prompt", "not empty"),
        ({"prompt": ["a", 1]}, "prompt", "token ids"),
        ({"prompt": [1, 50]}, "prompt", "0 to 49"),
        ({"prompt": None}, "prompt", "missing"),
        ({"prompt": "\ud800"}, "prompt", "surrogate"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_reason(given: dict[str, Any], param: str, words: str) -> None:
    """Naming the field, and what would work."""
    found, message = refusal(given)
    assert found == param
    assert words in message


@pytest.mark.parametrize(
    ("given", "param", "words"),
    [
        ({"logprobs": 5}, "logprobs", "true or false"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs to be true"),
        ({"top_logprobs": 2, "logprobs": False}, "top_logprobs", "needs logprobs to be true"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "from 0 to 20"),
    ],
)
def test_a_chats_log_probabilities_are_asked_for_in_two_fields(given: dict[str, Any], param: str, words: str) -> None:
    """Whether, and how many beside each; a completion has one number for both."""
    found, message = refusal(given, of=chat)
    assert found == param
    assert words in message


def test_null_within_an_object_is_as_good_as_absent() -> None:
    """At any depth: a client of typed languages writes all fields of an object."""
    assert not chat(stream=True, stream_options={"include_usage": None, "include_obfuscation": None}).include_usage
    assert planned(completion(logit_bias={"5": None})) == planned(completion())


def test_both_names_of_a_chats_bound_must_agree() -> None:
    """Or nobody knows which one is meant."""
    assert refusal({"max_tokens": 3, "max_completion_tokens": 4}, of=chat)[0] == "max_tokens"
    assert planned(chat(max_tokens=3, max_completion_tokens=3)).max_output == 3


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
    ],
)
def test_a_prompt_is_text_or_token_ids_or_a_batch(prompt: Any, read: tuple[Any, ...]) -> None:
    """All four of OpenAI's shapes."""
    assert completion(prompt=prompt).prompts == read


def test_messages_may_be_made_of_parts_and_have_a_name() -> None:
    """Parts of text are joined; developer is the newer word for system; what clients echo back is no hindrance."""
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]},
        {"role": "user", "content": "hi", "name": "bob"},
        {"role": "assistant", "content": "ho", "refusal": None, "tool_calls": None, "annotations": []},
    ]
    assert chat(messages=messages).messages == (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi", "name": "bob"},
        {"role": "assistant", "content": "ho"},
    )


def test_a_turn_without_words_and_one_that_refused_are_taken() -> None:
    """As clients send earlier answers back."""
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "content": None, "refusal": "never"},
    ]
    assert [message["content"] for message in chat(messages=turns).messages] == ["hi", "", "", "no", "never"]


def test_what_the_application_says_in_a_row_is_one_system_text() -> None:
    """Templates such as Llama 2's take one; what stands apart stays apart."""
    roles = ["system", "developer", "user", "developer", "user", "function"]
    turns = [{"role": role, "content": str(number)} for number, role in enumerate(roles)]
    assert [(message["role"], message["content"]) for message in chat(messages=turns).messages] == [
        ("system", "0\n\n1"), ("user", "2"), ("system", "3"), ("user", "4"), ("tool", "5"),
    ]  # fmt: skip


def test_a_prompt_too_long_is_told_in_the_words_that_clients_look_for() -> None:
    """LiteLLM and others fall back to another model by this sentence of OpenAI's."""
    for given, tokens in (({"max_tokens": 61}, 40), ({}, 100), ({"max_tokens": 1}, 300)):
        with pytest.raises(InvalidRequestError) as caught:
            planned(parsed(given), tokens)
        assert "this model's maximum context length is" in str(caught.value).lower()
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (None, "missing"),
        ([], "non-empty list"),
        ("hi", "non-empty list"),
        ([{"role": "llama", "content": "hi"}], "messages[0] must be an object whose role is one of"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "reads text alone"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": [{}]}], "messages[1]"),
    ],
)
def test_messages_that_cannot_be_read_are_refused(messages: Any, words: str) -> None:
    """With the place of the one that is meant."""
    param, message = refusal({"messages": messages}, of=chat)
    assert param is not None
    assert param.startswith("messages")
    assert words in message


def test_another_models_name_is_not_found() -> None:
    """And the error says which one there is; a name is needed."""
    check_model({"model": "m"}, "m")
    with pytest.raises(NotFoundError, match="there is no model gpt-4 here; it is m") as caught:
        check_model({"model": "gpt-4"}, "m")
    assert caught.value.code == "model_not_found"
    with pytest.raises(InvalidRequestError, match="model must name"):
        check_model({}, "m")


def test_a_stop_string_is_one_of_the_output() -> None:
    """One that begins in the prompt would end an answer with nothing of it cut."""
    assert not planned(chat(stop="\n\n")).stops_begin_in_prompt
    assert planned(chat()).stops_begin_in_prompt
