"""Can the engine run this kind of model? Judged by config.json, before a gigabyte is fetched."""

import re
from typing import Final

from llama_operator.plan.survey import ModelFact
from llama_operator.preflight.finding import Finding, failed, passed, unknown
from llama_operator.preflight.model_types import CAUSAL

_NOT_IN_THE_IMAGE: Final = frozenset(
    {"aqlm", "awq", "bitsandbytes", "compressed-tensors", "eetq", "gptq", "hqq", "quanto", "spqr", "torchao", "vptq"}
)
"""Quantizations that transformers needs another package for, which the server's image does not have."""

_OTHER_HEAD: Final = re.compile(
    "For(MaskedLM|(Sequence|Token|Image|Audio)Classification|QuestionAnswering|MultipleChoice|NextSentencePrediction|"
    "RewardModel|TextEncoding|Embedding|Retrieval)$"
)
"""Ends of architectures' names in transformers that are known to write no text; one without an end says nothing."""


def check(repo: str, model: ModelFact, *, own_image: bool) -> Finding:
    """Compare the model's type with those that the engine of this release knows.

    Args:
        repo: the repository.
        model: what the Hub says of it.
        own_image: whether the spec names an image of its own, whose engine may know more.
    """
    shape = model.shape
    kind = f"{shape.model_type or 'of no type'} ({', '.join(shape.architectures) or 'no architecture'})"
    known = shape.model_type in CAUSAL
    if not own_image and (other := _writes_no_text(model)):
        message = f"the engine cannot run {repo}, {other}: name a model in spec.model.repo that writes text"
        return failed("Architecture", "UnsupportedArchitecture", message)
    if known and shape.quantization is None:
        return passed("Architecture", f"{repo} is {kind}, which the engine runs")
    if known:
        kind = f"{kind}, quantized by {shape.quantization}"
    if own_image or (known and shape.quantization not in _NOT_IN_THE_IMAGE):
        return unknown("Architecture", f"{repo} is {kind}, and whether the engine of its image runs that is not known")
    fix = "the weights that are not quantized" if known else "a model of the Llama family"
    message = f"the engine cannot run {repo}, which is {kind}: name {fix} in spec.model.repo"
    return failed("Architecture", "UnsupportedArchitecture", message)


def _writes_no_text(model: ModelFact) -> str | None:
    """Return what a model is for whose type could write text, and that was made for something else; None otherwise."""
    names = model.shape.architectures
    if model.embeds:
        return "which makes embeddings for sentence-transformers"
    if names and all(map(_OTHER_HEAD.search, names)):
        return f"which was made for another task ({', '.join(names)})"
    return None
