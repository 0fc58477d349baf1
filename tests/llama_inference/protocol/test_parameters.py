"""The table of parameters: types and bounds, unknown names, and what is refused with its reason."""

from typing import Any

import pytest

from llama_inference.errors import InvalidRequestError
from llama_inference.protocol.parameters import GENERATION, OWN, PARAMETERS, REFUSED, check, shown

VOCABULARY = 100
NO_NUMBERS = ("1", True, [], {}, float("nan"), float("inf"))

INTEGERS = {
    "max_new_tokens": (1, 4096),
    "max_length": (1, 4096),
    "min_length": (0, 4096),
    "min_new_tokens": (0, 4096),
    "top_k": (0, 2**31 - 1),
    "num_beams": (1, 16),
    "num_return_sequences": (1, 16),
    "seed": (0, 2**63 - 1),
    "top_logprobs": (0, 20),
    "no_repeat_ngram_size": (0, 4096),
    "encoder_no_repeat_ngram_size": (0, 4096),
    "prompt_lookup_num_tokens": (1, 64),
    "max_matching_ngram_size": (1, 64),
    "prefill_chunk_size": (1, 4096),
}
NUMBERS: dict[str, tuple[list[float], list[float]]] = {  # name → good, bad
    "temperature": ([0, 0.1, 100], [-0.1]),
    "top_p": ([0.01, 1], [0, 1.01]),
    "min_p": ([0, 1], [-0.01, 1.01]),
    "typical_p": ([0.01, 1], [0, 1.01]),
    "top_h": ([0.01, 1], [0, 1.01]),
    "epsilon_cutoff": ([0, 0.99], [-0.01, 1]),
    "eta_cutoff": ([0, 0.99], [-0.01, 1]),
    "repetition_penalty": ([0.5, 2], [0]),
    "encoder_repetition_penalty": ([0.5, 2], [0]),
    "length_penalty": ([-2, 0, 2], [-101, 101]),
    "guidance_scale": ([0, 1.5], [-1]),
    "max_time": ([0.001, 60], [0, 86401]),
}
BOOLEANS = (
    "do_sample", "stream", "return_full_text", "return_logprobs", "renormalize_logits", "remove_invalid_values",
    "use_cache",
)  # fmt: skip
TOKENS = ("forced_bos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id")
TOKEN_OR_LIST = ("eos_token_id", "forced_eos_token_id")
TOKEN_LISTS = ("suppress_tokens", "begin_suppress_tokens")
OTHERS: dict[str, tuple[list[Any], list[Any]]] = {  # name → good, bad
    "stop_strings": (
        ["END", ["a", "b"], ["é" * 16] * 16],
        ["", [], [1], ["a", ""], 7, "\ud83e", "a" * 257, ["a"] * 17],
    ),
    "early_stopping": ([True, False, "never"], ["always", 1, 0]),
    "bad_words_ids": ([[[1]], [[1, 2], [3]]], [[], [[]], [1], [[-1]], [[100]], "x"]),
    "sequence_bias": ([[[[5, 7], -2.0]]], [[], [[5, 1.0]], [[[5], "x"]], {"5": 1}, [[[100], 1.0]]]),
    "exponential_decay_length_penalty": ([[20, 1.05]], [[20], [20, 0], [-1, 1.05], "x"]),
    "watermarking_config": ([{"bias": 2.0}, {}], [{"bias": "x"}, {"colour": "red"}, []]),
    "cache_implementation": (["dynamic", "static", "offloaded"], ["quantized", 1]),
}
DEFAULTS = {
    "max_new_tokens": 512,
    "temperature": 0.1,
    "top_p": 0.75,
    "top_k": 40,
    "num_beams": 4,
    "do_sample": None,  # the model's own
    "stream": False,
    "seed": None,
    "return_full_text": False,
    "return_logprobs": False,
    "top_logprobs": None,
}


def refusal(name: str, value: Any) -> InvalidRequestError:
    """The error of a value that is not taken."""
    with pytest.raises(InvalidRequestError) as caught:
        check(name, value, VOCABULARY)
    return caught.value


def test_the_tables_here_name_every_parameter() -> None:
    """A parameter that is added without a row here is noticed."""
    rows = {*INTEGERS, *NUMBERS, *BOOLEANS, *TOKENS, *TOKEN_OR_LIST, *TOKEN_LISTS, *OTHERS}
    assert rows == set(PARAMETERS)


def test_the_contracts_parameters_have_its_defaults() -> None:
    """All else is left to the model."""
    assert {name: row.default for name, row in OWN.items()} == DEFAULTS
    assert all(row.default is None for row in GENERATION.values())


@pytest.mark.parametrize(("name", "bounds"), INTEGERS.items())
def test_an_integer_lies_within_its_bounds(name: str, bounds: tuple[int, int]) -> None:
    """Both bounds are taken, also written as 1.0; one beyond is not, nor is another type."""
    low, high = bounds
    assert [check(name, value, VOCABULARY) for value in (low, high, float(low))] == [low, high, low]
    assert isinstance(check(name, float(low), VOCABULARY), int)
    for value in (low - 1, high + 1, low + 0.5, *NO_NUMBERS):
        error = refusal(name, value)
        assert (error.status, error.code, error.param) == (400, "invalid_parameter", name)
        assert f"{name} must be an integer from {low} to {high}; it is " in str(error)


@pytest.mark.parametrize(("name", "values"), NUMBERS.items())
def test_a_number_lies_within_its_bounds(name: str, values: tuple[list[float], list[float]]) -> None:
    """Every number becomes a float; what is beyond, infinite, or of another type is refused."""
    good, bad = values
    assert [check(name, value, VOCABULARY) for value in good] == good
    assert all(isinstance(check(name, value, VOCABULARY), float) for value in good)
    for value in (*bad, 10**400, *NO_NUMBERS):
        assert str(refusal(name, value)).startswith(f"{name} must be a number ")


@pytest.mark.parametrize("name", BOOLEANS)
def test_a_switch_is_true_or_false(name: str) -> None:
    """Nothing that merely counts as true."""
    assert check(name, True) is True
    assert check(name, False) is False
    for value in (1, 0, "true", []):
        assert "must be true or false" in str(refusal(name, value))


@pytest.mark.parametrize("name", [*TOKENS, *TOKEN_OR_LIST])
def test_a_token_id_is_one_of_the_models(name: str) -> None:
    """An id beyond the vocabulary would end a CUDA context, and every other request with it."""
    assert [check(name, value, VOCABULARY) for value in (0, 99)] == [0, 99]
    for value in (100, -1, 1.5, "1", True):
        assert refusal(name, value).param == name


@pytest.mark.parametrize("name", [*TOKEN_OR_LIST, *TOKEN_LISTS])
def test_a_list_of_token_ids_holds_only_the_models(name: str) -> None:
    """One wrong id refuses the list."""
    assert check(name, [0, 99], VOCABULARY) == [0, 99]
    for value, path in (([], ""), ([100], "[0]"), ([1, -1], "[1]"), (["1"], "[0]"), ("1", "")):
        assert refusal(name, value).param == name + path


@pytest.mark.parametrize(("name", "values"), OTHERS.items())
def test_a_compound_value_is_checked_to_its_depth(name: str, values: tuple[list[Any], list[Any]]) -> None:
    """Lists and objects are checked to their innermost value."""
    good, bad = values
    for value in good:
        check(name, value, VOCABULARY)
    for value in bad:
        assert (refusal(name, value).param or "").startswith(name)


@pytest.mark.parametrize(
    ("name", "value", "param", "words"),
    [
        ("suppress_tokens", [1, 100], "suppress_tokens[1]", "must be a token id from 0 to 99; it is 100"),
        ("bad_words_ids", [[1], [2, "x"]], "bad_words_ids[1][1]", 'must be a token id from 0 to 99; it is "x"'),
        ("sequence_bias", [[[1, 500], 1]], "sequence_bias[0][0][1]", "must be a token id from 0 to 99; it is 500"),
        ("sequence_bias", [[[1], True]], "sequence_bias[0][1]", "must be a number at least -1e+06"),
        ("exponential_decay_length_penalty", [1, 0], "exponential_decay_length_penalty[1]", "above 0"),
        ("watermarking_config", {"bias": "x"}, "watermarking_config.bias", 'at most 1000; it is "x"'),
        ("watermarking_config", {"bais": 1}, "watermarking_config.bais", "is none of its fields, greenlist_ratio"),
    ],
)
def test_an_error_within_a_value_names_its_place(name: str, value: Any, param: str, words: str) -> None:
    """With the value that stands there, not the whole."""
    error = refusal(name, value)
    assert error.param == param
    assert str(error).startswith(f"{param} ")
    assert words in str(error)


def test_null_within_an_object_is_as_good_as_absent() -> None:
    """At any depth, wherever fields have names."""
    assert check("watermarking_config", {"bias": None, "context_width": 2}) == {"context_width": 2}


def test_an_error_shows_a_value_as_the_caller_wrote_it() -> None:
    """In JSON's notation, cut where it is long, however it is made."""
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    values = [True, "é", {"a": None}, 10**5000, deep, "x" * 100]
    shown_as = [
        "true",
        '"é"',
        '{"a": null}',
        "too long to be repeated",
        "too long to be repeated",
        '"' + "x" * 56 + "…",
    ]
    assert [shown(value) for value in values] == shown_as


@pytest.mark.parametrize(
    ("name", "most", "more", "words"),
    [
        *((name, [1] * 1024, [1] * 1025, "1024 token ids, and holds 1025") for name in (*TOKEN_OR_LIST, *TOKEN_LISTS)),
        ("bad_words_ids", [[1] * 4] * 256, [[1]] * 257, "256 lists of token ids, and holds 257"),
        ("bad_words_ids", [[1] * 1024], [[1] * 1000, [1] * 25], "1024 token ids in all its lists, and holds 1025"),
        ("sequence_bias", [[[1] * 4, 1.0]] * 256, [[[1], 1.0]] * 257, "256 lists of token ids, and holds 257"),
        ("sequence_bias", [[[1] * 1024, 1.0]], [[[1] * 1025, 1.0]], "1024 token ids in all its lists, and holds 1025"),
    ],
)
def test_a_list_has_a_bound(name: str, most: Any, more: Any, words: str) -> None:
    """As many are taken, one more is not: each is worked with at every step, while all others wait."""
    check(name, most, VOCABULARY)
    error = refusal(name, more)
    assert (error.status, error.param) == (400, name)
    assert str(error).startswith(f"{name} must hold at most {words}; it is ")
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("max_tokens", "max_new_tokens"),
        ("temprature", "temperature"),
        ("topp", "top_p"),
        ("n_beams", "num_beams"),
        ("promt", "prompt"),
        ("stop_string", "stop_strings"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    """A slip of the pen is pointed out, never ignored."""
    error = refusal(name, 1)
    assert (error.status, error.code, error.param) == (400, "unknown_parameter", name)
    assert str(error).endswith(f"did you mean {nearest}?")


def test_a_name_like_no_other_points_to_the_list() -> None:
    """No far-fetched guess; and a name of any length is repeated in short."""
    assert str(refusal("zzz", 1)).endswith("GET /docs lists what there is")
    assert len(str(refusal("z" * 10_000, 1))) < 200


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("custom_generate", "load code"),
        ("trust_remote_code", "load code"),
        ("assistant_model", "assistant model"),
        ("streamer", "Python objects"),
        ("logits_processor", "Python objects"),
        ("stopping_criteria", "Python objects"),
        ("generation_config", "Python objects"),
        ("penalty_alpha", "code on the Hub"),
        ("output_scores", "no place in it for tensors"),
        ("max_cache_len", "the deployment decides"),
    ],
)
def test_a_dangerous_name_is_refused_with_its_reason(name: str, reason: str) -> None:
    """Whatever the value: what loads code, or holds objects, is never passed on."""
    for value in ("x", None, True, {}):
        error = refusal(name, value)
        assert (error.status, error.code, error.param) == (400, "refused_parameter", name)
        assert reason in str(error)


def test_no_name_is_both_taken_and_refused() -> None:
    """The two tables share no name."""
    assert not set(PARAMETERS) & set(REFUSED)


def test_a_long_value_is_repeated_in_short() -> None:
    """An error message does not send megabytes back."""
    assert len(str(refusal("temperature", "x" * 1_000_000))) < 200
