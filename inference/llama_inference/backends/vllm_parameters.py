"""A request's parameters as vLLM's `SamplingParams` and `BeamSearchParams` take them. Pure; vLLM is not imported.

Which parameters come here at all is decided by `backends.abilities`.
"""

from dataclasses import dataclass

from llama_inference.values import Generation, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to vLLM.

    Attributes:
        prompt: token ids.
        sampling: keyword arguments of `SamplingParams`; None for a beam search.
        beams: keyword arguments of `BeamSearchParams`; None for a sequence.
        returned: sequences of a beam search that are returned.
    """

    prompt: tuple[int, ...]
    sampling: dict[str, Json] | None = None
    beams: dict[str, Json] | None = None
    returned: int = 1


def call(generation: Generation, prompt: tuple[int, ...], seed: int) -> Call:
    """Return what to ask of vLLM for one prompt."""
    beams = generation.parameters.get("num_beams") or 1
    if beams == 1:
        return Call(prompt=prompt, sampling=_sampling(generation, prompt, seed))
    searched = {
        "beam_width": beams,
        "max_tokens": generation.room(len(prompt)),
        "length_penalty": _or(generation.parameters.get("length_penalty"), 1.0),
        "include_stop_str_in_output": True,  # the end token is one of the output's
    }
    return Call(prompt=prompt, beams=searched, returned=generation.sequences)


def _sampling(generation: Generation, prompt: tuple[int, ...], seed: int) -> dict[str, Json]:
    given = generation.parameters
    shortest = max(given.get("min_new_tokens") or 0, (given.get("min_length") or 0) - len(prompt), 0)
    values: dict[str, Json] = {
        "max_tokens": generation.room(len(prompt)),
        "min_tokens": shortest,
        "seed": seed,
        "detokenize": False,  # text is made from token ids here, and stop strings are found in it
        "temperature": 0.0,
        "repetition_penalty": _or(given.get("repetition_penalty"), 1.0),
        "frequency_penalty": _or(given.get("frequency_penalty"), 0.0),
        "presence_penalty": _or(given.get("presence_penalty"), 0.0),
    }
    if given.get("do_sample"):
        values["temperature"] = _or(given.get("temperature"), 1.0)
        values["top_p"] = _or(given.get("top_p"), 1.0)
        values["top_k"] = _or(given.get("top_k"), 50)  # transformers' own default; 0 is off for both
        values["min_p"] = _or(given.get("min_p"), 0.0)
    ends = given.get("eos_token_id")
    if ends is not None:
        # These and no others: vLLM would add those of the model's configuration.
        values["ignore_eos"] = True
        values["stop_token_ids"] = list(ends) if isinstance(ends, list | tuple) else [ends]
    return values


def _or(value: Json, default: Json) -> Json:
    return default if value is None else value
