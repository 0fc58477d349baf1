"""A request's parameters as the engine applies them: batched, by transformers' own processors, or not.

Defaults and checks are those of transformers' `GenerationConfig`, filled in as `generate` fills them in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from transformers import GenerationConfig, LogitsProcessorList

from llama_inference.engine.native.architecture import Pretrained
from llama_inference.values import Generation, Json

OPENAI: Final = frozenset({"frequency_penalty", "presence_penalty"})  # not transformers' own
BATCHED: Final = frozenset(
    {
        "do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty",
        "no_repeat_ngram_size", "bad_words_ids", "min_length", "min_new_tokens", "suppress_tokens",
        "begin_suppress_tokens", "eos_token_id", "num_beams", "num_return_sequences", "length_penalty",
        "early_stopping", *OPENAI,
    }
)  # fmt: skip
# Rows that ask for one of these go through transformers' own processors, one request at a time, inside the batch.
CHAINED: Final = frozenset(
    {
        "sequence_bias", "encoder_repetition_penalty", "encoder_no_repeat_ngram_size", "forced_bos_token_id",
        "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty", "top_h",
        "epsilon_cutoff", "eta_cutoff", "watermarking_config", "renormalize_logits",
    }
)  # fmt: skip
# How transformers would go about it; the tokens are the same.
WITHOUT_EFFECT: Final = frozenset(
    {
        "bos_token_id", "pad_token_id", "decoder_start_token_id", "use_cache", "cache_implementation",
        "prefill_chunk_size", "max_matching_ngram_size",
    }
)  # fmt: skip
OFF: Final[Mapping[str, Json]] = {"guidance_scale": 1, "prompt_lookup_num_tokens": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How one row's next token is chosen; values that change nothing stand for what is not asked for.

    Attributes:
        keep: the fewest tokens that a filter leaves.
        ends: the end tokens.
        min_length: prompt and output together, below which no end token is chosen.
        prompt_length: tokens in front of the output.
        chain: transformers' own processors; when given, they do everything but the drawing.
    """

    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    keep: int = 1
    repetition: float = 1.0
    frequency: float = 0.0
    presence: float = 0.0
    ngram: int = 0
    bad_words: tuple[tuple[int, ...], ...] = ()
    suppress: tuple[int, ...] = ()
    begin_suppress: tuple[int, ...] = ()
    min_length: int = 0
    ends: tuple[int, ...] = ()
    prompt_length: int = 0
    chain: LogitsProcessorList | None = None

    @property
    def penalizes(self) -> bool:
        """Whether scores depend on how often tokens have been seen."""
        return self.repetition != 1.0 or self.frequency != 0.0 or self.presence != 0.0

    @property
    def bans(self) -> bool:
        """Whether some tokens may be forbidden."""
        return bool(self.ngram or self.bad_words or self.suppress or self.begin_suppress or self.min_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beams:
    """A beam search: its width, how many of its sequences are returned, and how they are ranked."""

    width: int
    returned: int
    length_penalty: float
    early_stopping: bool | Literal["never"]


def uncovered(generation: Generation) -> str | None:
    """Return the parameter that keeps a request from running in the batch, None when nothing does."""
    for name, value in generation.parameters.items():
        if name in OFF and value in (None, OFF[name]):
            continue
        if name not in BATCHED | CHAINED | WITHOUT_EFFECT and value is not None:
            return name
    return None


def resolve(parameters: Mapping[str, Json], max_length: int) -> GenerationConfig:
    """Return transformers' configuration for the parameters, its defaults filled in.

    Raises:
        ValueError: transformers refuses the combination.
    """
    own = {name: value for name, value in parameters.items() if name not in OPENAI and value != []}
    config = GenerationConfig(**own, max_length=max_length)
    defaults: Any = GenerationConfig()
    config.update(**defaults._get_default_generation_params(), defaults_only=True)  # noqa: SLF001 - as `generate` does
    return config


def ends_of(config: GenerationConfig) -> tuple[int, ...]:
    """The end tokens."""
    ends: Json = config.eos_token_id
    return () if ends is None else tuple(ends) if isinstance(ends, list) else (ends,)


def beams(config: Pretrained) -> Beams | None:
    """The beam search that is asked for, if any."""
    if config.num_beams == 1:
        return None
    return Beams(
        width=config.num_beams,
        returned=config.num_return_sequences,
        length_penalty=config.length_penalty,
        early_stopping=config.early_stopping,
    )


def sampling(
    config: Pretrained, parameters: Mapping[str, Json], prompt: tuple[int, ...], model: Pretrained
) -> Sampling:
    """Return how rows of one request choose; `model` is asked for its processors where they are needed."""
    ends = ends_of(config)
    min_new = len(prompt) + config.min_new_tokens if config.min_new_tokens else 0
    return Sampling(
        sample=config.do_sample,
        **(_warpers(config, ends) if config.do_sample else {}),
        repetition=config.repetition_penalty,
        frequency=parameters.get("frequency_penalty") or 0.0,
        presence=parameters.get("presence_penalty") or 0.0,
        ngram=config.no_repeat_ngram_size,
        bad_words=tuple(tuple(word) for word in config.bad_words_ids or () if len(word) > 1 or word[0] not in ends),
        suppress=tuple(config.suppress_tokens or ()),
        begin_suppress=tuple(config.begin_suppress_tokens or ()),
        min_length=max(config.min_length, min_new) if ends else 0,
        ends=ends,
        prompt_length=len(prompt),
        chain=_chain(config, prompt, model) if _is_chained(parameters) else None,
    )


def _warpers(config: Pretrained, ends: tuple[int, ...]) -> dict[str, Any]:
    return {
        "temperature": config.temperature,
        "top_k": config.top_k or 0,
        "top_p": config.top_p,
        "min_p": config.min_p or 0.0,
        "typical_p": config.typical_p,
        # A beam search must keep a token besides the end tokens, or it could not go on.
        "keep": (len(ends) + 1 if ends else 2) if config.num_beams > 1 else 1,
    }


def _is_chained(parameters: Mapping[str, Json]) -> bool:
    return any(value is not None for name, value in parameters.items() if name in CHAINED)


def _chain(config: Pretrained, prompt: tuple[int, ...], model: Pretrained) -> LogitsProcessorList:
    device = model.model.embed_tokens.weight.device
    model._prepare_special_tokens(config, device=device)  # noqa: SLF001 - the order of processors is transformers' own
    return model._get_logits_processor(  # noqa: SLF001
        config,
        input_ids_seq_length=len(prompt),
        encoder_input_ids=torch.tensor([prompt], device=device),
        device=device,
    )
