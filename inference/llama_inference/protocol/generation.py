"""Checked parameters → `Generation`, for every API: what a backend needs, without what has no effect."""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import Final

from llama_inference.protocol import structures
from llama_inference.values import Generation, Json

GREEDY_BELOW: Final = 1e-6  # scores divided by less overflow; the likeliest token is certain long before
SAMPLING: Final = ("temperature", "top_p", "top_k", "min_p", "typical_p", "top_h", "epsilon_cutoff", "eta_cutoff")
BEAMS_ONLY: Final = ("early_stopping", "length_penalty")


def samples(values: Mapping[str, Json]) -> bool:
    """Whether tokens are drawn; a temperature of 0 means greedy."""
    return bool(values.get("do_sample")) and values["temperature"] >= GREEDY_BELOW


def build(
    values: Mapping[str, Json],
    prompts: Seq[Seq[int]],
    *,
    max_tokens: int,
    max_output: int | None = None,
    streamed: bool,
    stops_begin_in_prompt: bool = True,
    prompt_told: bool = False,
) -> Generation:
    """Return what a backend runs.

    Args: `values` hold `do_sample`, `temperature` and `num_beams` at least, and no bound on tokens; `prompt_told` is
    whether log-probabilities, where they are asked for, are the prompt's as well.
    """
    values = dict(values)
    values["do_sample"] = samples(values)
    for name in () if values["do_sample"] else SAMPLING:
        values.pop(name, None)
    for name in () if values["num_beams"] > 1 else BEAMS_ONLY:
        values.pop(name, None)
    structure = structures.take(values)
    asked, top = values.pop("return_logprobs", None), values.pop("top_logprobs", None)
    logprobs = top or 0 if asked else None
    return Generation(
        prompts=tuple(tuple(prompt) for prompt in prompts),
        max_tokens=max_tokens,
        max_output=max_output,
        sequences=values.get("num_return_sequences", 1),
        seed=values.pop("seed", None),
        max_time=values.pop("max_time", None),
        stop_strings=values.pop("stop_strings", ()),
        stops_begin_in_prompt=stops_begin_in_prompt,
        parameters=values,
        streamed=streamed,
        logprobs=logprobs,
        prompt_logprobs=logprobs if prompt_told else None,
        structure=structure,
    )
