"""Parameters and backends: what each backend honours, what is refused with who can, and what gives way."""

import re
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from llama_inference.backends.abilities import BESIDE_BEAMS, EVERYTHING, HONOURED, NOTHING_ASKED, able, fit, honours
from llama_inference.errors import ConfigurationError, InvalidRequestError
from llama_inference.protocol.limits import Limits
from llama_inference.protocol.parameters import PARAMETERS, check
from llama_inference.protocol.predict import parse
from llama_inference.values import BackendName, ModelInfo

BACKENDS: Final[tuple[BackendName, ...]] = get_args(BackendName)
ASKED: Final[dict[str, Any]] = {
    "max_new_tokens": 50, "max_length": 50, "min_length": 3, "min_new_tokens": 3, "max_time": 1.5,
    "temperature": 0.5, "top_k": 7, "top_p": 0.5, "min_p": 0.1, "typical_p": 0.5, "top_h": 0.5,
    "epsilon_cutoff": 0.1, "eta_cutoff": 0.1, "num_beams": 2, "num_return_sequences": 2, "do_sample": True,
    "stream": True, "seed": 1, "return_full_text": True, "stop_strings": ["END"], "early_stopping": True,
    "length_penalty": 2.0, "repetition_penalty": 1.5, "encoder_repetition_penalty": 1.5, "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 2, "guidance_scale": 1.5, "renormalize_logits": True,
    "remove_invalid_values": True, "bad_words_ids": [[1]], "suppress_tokens": [1], "begin_suppress_tokens": [1],
    "sequence_bias": [[[5], -2.0]], "exponential_decay_length_penalty": [20, 1.05], "forced_bos_token_id": 1,
    "forced_eos_token_id": 1, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1, "decoder_start_token_id": 1,
    "watermarking_config": {"bias": 2.0}, "prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 3,
    "use_cache": False, "cache_implementation": "static", "prefill_chunk_size": 64, "frequency_penalty": 0.5,
    "presence_penalty": 0.5, "return_logprobs": True, "top_logprobs": 2,
    "response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}, "guided_json": {},
    "guided_regex": "a", "guided_choice": ["a"], "guided_grammar": "start: x",
}  # fmt: skip
VLLM = ModelInfo(max_context=256, vocabulary=100, backend="vllm", defaults={"do_sample": True, "typical_p": 0.9})
TGI = ModelInfo(max_context=256, vocabulary=100, backend="tgi", defaults={"do_sample": True})


def asked(model: ModelInfo, **given: Any) -> dict[str, Any]:
    """The values that a request of these fields comes to."""
    return dict(parse({"prompt": "x", **given}, model, Limits()).values)


def test_every_parameter_has_a_value_that_asks_for_something() -> None:
    """The table below covers all parameters there are."""
    assert set(PARAMETERS) <= set(ASKED)
    for name in PARAMETERS:
        assert check(name, ASKED[name], 100) not in NOTHING_ASKED.get(name, ())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", sorted(ASKED))
def test_a_parameter_is_honoured_or_refused_by_name_of_who_can(backend: BackendName, name: str) -> None:
    """What a request asks for reaches the backend, or the answer is 400 and names the backends that can."""
    given = {name: ASKED[name]}
    if honours(backend, name):
        assert fit(backend, given, given)[name] == ASKED[name]
        return
    with pytest.raises(InvalidRequestError) as refused:
        fit(backend, given, given)
    error = refused.value
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", name)
    assert backend in str(error).partition(";")[0]
    for other in able(name):
        assert other in str(error).partition(";")[2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", sorted(NOTHING_ASKED))
def test_a_value_that_asks_for_nothing_is_taken_by_all(backend: BackendName, name: str) -> None:
    """A client that writes out every default gets an answer everywhere."""
    for value in NOTHING_ASKED[name]:
        assert fit(backend, {name: value}, {name: value}) == {name: value}


def test_the_table_names_parameters_that_there_are() -> None:
    """No row outlives its parameter."""
    names = {*PARAMETERS, "frequency_penalty", "presence_penalty"}
    assert set().union(*HONOURED.values(), *BESIDE_BEAMS.values(), NOTHING_ASKED) <= names
    assert set(HONOURED) | set(EVERYTHING) == set(BACKENDS)


def test_every_parameter_can_be_had_somewhere() -> None:
    """A refusal always has somebody to name."""
    assert all(able(name) for name in ASKED)


def test_defaults_that_cannot_be_honoured_give_way() -> None:
    """The contract's four beams and a model's own defaults do not make a TGI refuse everything."""
    assert asked(TGI)["num_beams"] == 1
    assert asked(VLLM)["typical_p"] == 1


def test_defaults_stay_where_they_can_be_honoured() -> None:
    """Nothing gives way without need."""
    greedy = ModelInfo(max_context=256, vocabulary=100, backend="vllm")
    assert asked(greedy)["num_beams"] == 4


def test_default_beams_give_way_to_drawing() -> None:
    """Of vLLM a beam search draws nothing: what the request or the model says of drawing wins over default beams."""
    assert (asked(VLLM)["num_beams"], asked(VLLM)["do_sample"]) == (1, True)
    assert asked(VLLM, repetition_penalty=1.2)["num_beams"] == 1


def test_drawing_by_default_gives_way_to_beams() -> None:
    """Beams that a request asks for are searched, without the model's default of drawing."""
    values = asked(VLLM, num_beams=3)
    assert (values["num_beams"], values["do_sample"]) == (3, False)


def test_what_is_not_honoured_beside_beams_is_refused_by_name() -> None:
    """Both asked for: the answer says which of them, and that beams are why."""
    with pytest.raises(InvalidRequestError, match=r"together with num_beams; native and transformers can") as refused:
        asked(VLLM, num_beams=3, repetition_penalty=1.5)
    assert refused.value.param == "repetition_penalty"
    with pytest.raises(InvalidRequestError) as refused:
        asked(VLLM, num_beams=3, do_sample=True)
    assert refused.value.param == "do_sample"


def test_a_deployments_default_must_be_honoured() -> None:
    """What a deployment sets on purpose is not dropped in silence: the start-up says so."""
    with pytest.raises(ConfigurationError, match=r"spec\.generation\.defaults\.num_beams: .*tgi, cannot honour it"):
        Limits.parse({"num_beams": 4}, {}, backend="tgi")
    assert Limits.parse({"num_beams": 1}, {}, backend="tgi").defaults == {"num_beams": 1}


def test_the_page_on_backends_lists_what_each_honours() -> None:
    """A row of the table that changes here changes there."""
    page = (Path(__file__).parents[3] / "docs" / "backends.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| `")}
    listed = {key: set(re.findall(r"`(\w+)`", row.split("|")[2])) for key, row in rows.items()}
    both, vllm, tgi = HONOURED["vllm"] & HONOURED["tgi"], HONOURED["vllm"], HONOURED["tgi"]
    assert listed["`vllm` and `tgi`"] == both
    assert listed["`vllm` alone"] == vllm - both
    assert listed["`tgi` alone"] == tgi - both
