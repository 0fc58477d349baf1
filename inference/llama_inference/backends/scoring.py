"""Log-probabilities of a finished output, by reading it once more: for `generate`, which keeps none of its scores.

To keep them, as transformers can, would take the whole vocabulary for each token; to read an output takes a fraction
of the time that writing it took.
"""

from dataclasses import replace
from typing import Final

import torch

from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.logprobs import Pick, logprobs
from llama_inference.values import Generation, Logprob, Sequence

AT_ONCE: Final = 256  # places whose scores are looked at together: each has a row of the whole vocabulary


def scored(model: Pretrained, generation: Generation, prompt: tuple[int, ...], output: Sequence) -> Sequence:
    """Return an output with the log-probabilities that its request asks for."""
    if generation.logprobs is None and generation.prompt_logprobs is None:
        return output
    first = 1 if generation.prompt_logprobs is not None else len(prompt)
    top = max(generation.logprobs or 0, generation.prompt_logprobs or 0)
    found = _read(model, prompt + output.token_ids, first, top)
    before = len(prompt) - first
    told = _cut(found[before:], generation.logprobs)
    return replace(output, logprobs=told, prompt_logprobs=_cut(found[:before], generation.prompt_logprobs))


def _cut(found: list[Logprob], top: int | None) -> tuple[Logprob, ...]:
    return () if top is None else tuple(replace(each, top=each.top[:top]) for each in found)


@torch.inference_mode()
def _read(model: Pretrained, tokens: tuple[int, ...], first: int, top: int) -> list[Logprob]:
    """How likely each token from `first` on was, which is 1 at least; piece by piece, for the memory it takes."""
    device = model.get_input_embeddings().weight.device
    past: Pretrained = None
    found: list[Logprob] = []
    for begin in range(0, len(tokens) - 1, AT_ONCE):
        end = min(begin + AT_ONCE, len(tokens) - 1)
        inputs = torch.tensor([tokens[begin:end]], device=device)
        output = model(input_ids=inputs, past_key_values=past, use_cache=True)
        past, logits = output.past_key_values, output.logits[0].float()
        rows = range(max(begin, first - 1), end)
        found += logprobs(logits, [Pick(row - begin, tokens[row + 1], top) for row in rows])
    return found
