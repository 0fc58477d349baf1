"""What vLLM is asked. Pure; `tests/real_vllm` asks a real one."""

from typing import Any

from llama_inference.backends.vllm_parameters import call
from llama_inference.values import Generation

PROMPT = (1, 2)


def sampling(**given: Any) -> dict[str, Any]:
    """The `SamplingParams` of a request with a prompt of two tokens."""
    found = call(Generation(prompts=(PROMPT,), max_tokens=12, **given), PROMPT, seed=5)
    assert found.sampling is not None
    assert found.beams is None
    return found.sampling


def test_a_greedy_request_has_temperature_0() -> None:
    """Which is greedy to vLLM; the contract bounds prompt and output together, vLLM the output alone."""
    found = sampling()
    assert (found["temperature"], found["max_tokens"], found["seed"]) == (0.0, 10, 5)
    assert not {"top_p", "top_k", "min_p"} & set(found)


def test_a_bound_on_the_output_alone_holds_too() -> None:
    """OpenAI's max_tokens; the smaller of both bounds counts, with beams as well."""
    assert [sampling(max_output=most)["max_tokens"] for most in (3, 30)] == [3, 10]
    asked = Generation(prompts=(PROMPT,), max_tokens=12, max_output=3, parameters={"num_beams": 4})
    assert (call(asked, PROMPT, seed=5).beams or {})["max_tokens"] == 3


def test_drawing_has_transformers_own_defaults() -> None:
    """What nobody says is what `generate` would take, not vLLM's default."""
    found = sampling(parameters={"do_sample": True})
    assert (found["temperature"], found["top_p"], found["top_k"], found["min_p"]) == (1.0, 1.0, 50, 0.0)
    drawn = {"temperature": 0.5, "top_p": 0.9, "top_k": 0, "min_p": 0.1}
    assert drawn.items() <= sampling(parameters={"do_sample": True, **drawn}).items()


def test_penalties_go_along() -> None:
    """All three that vLLM knows."""
    penalties = {"repetition_penalty": 1.2, "frequency_penalty": 0.5, "presence_penalty": -0.5}
    assert penalties.items() <= sampling(parameters=penalties).items()


def test_the_longer_minimum_counts() -> None:
    """One counts the prompt in, the other does not."""
    assert sampling(parameters={"min_length": 5, "min_new_tokens": 1})["min_tokens"] == 3
    assert sampling(parameters={"min_length": 5, "min_new_tokens": 4})["min_tokens"] == 4
    assert sampling(parameters={"min_length": 1})["min_tokens"] == 0


def test_end_tokens_are_those_of_the_request_and_no_others() -> None:
    """Others of the model would be added by vLLM."""
    assert sampling(parameters={"eos_token_id": 7})["stop_token_ids"] == [7]
    found = sampling(parameters={"eos_token_id": [7, 8]})
    assert (found["stop_token_ids"], found["ignore_eos"]) == ([7, 8], True)
    assert "ignore_eos" not in sampling()


def test_stop_strings_are_found_here() -> None:
    """One place decides a stop for every backend, so that vLLM makes no text at all."""
    found = sampling(stop_strings=("END",))
    assert "stop" not in found
    assert found["detokenize"] is False


def test_beams_are_a_search() -> None:
    """All returned sequences come of one call."""
    asked = Generation(prompts=(PROMPT,), max_tokens=12, sequences=2, parameters={"num_beams": 4, "length_penalty": 0})
    found = call(asked, PROMPT, seed=5)
    assert found.sampling is None
    assert found.returned == 2
    assert found.beams == {
        "beam_width": 4,
        "max_tokens": 10,
        "length_penalty": 0,
        "include_stop_str_in_output": True,
    }
