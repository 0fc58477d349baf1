"""Every parameter of a request: its kind, its default, what it means; and what is refused, with the reason.

One table for validation, for deployment defaults and maximums, and for the OpenAPI page. Its names are those of
`transformers.GenerationConfig`; a test compares them, so that a new version of transformers cannot add one unseen.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llama_inference.errors import InvalidRequestError
from llama_inference.protocol import kinds
from llama_inference.protocol.kinds import Kind
from llama_inference.protocol.structures import STRUCTURES
from llama_inference.values import Json

MAX_TOKENS: Final = 4096
MAX_BEAMS: Final = 16
MAX_LOGPROBS: Final = 20  # OpenAI's own bound
BOTH: Final = (True, False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row: how a value is checked, the contract's default (None: the model's or transformers'), and its meaning."""

    kind: Kind
    text: str
    default: Json = None


def _row(kind: Kind, text: str, default: Json = None) -> Parameter:
    return Parameter(kind, text, default)


OWN: Final[Mapping[str, Parameter]] = {
    "max_new_tokens": _row(kinds.integer(1, MAX_TOKENS), "Prompt and output together, in tokens.", 512),
    "temperature": _row(kinds.number(0, 1e6), "Flattens (above 1) or sharpens the distribution; 0 is greedy.", 0.1),
    "top_p": _row(kinds.number(0, 1, above=True), "Sample from the likeliest tokens that make up this share.", 0.75),
    "top_k": _row(kinds.integer(0), "Sample from this many of the likeliest tokens; 0 switches it off.", 40),
    "num_beams": _row(kinds.integer(1, MAX_BEAMS), "Beams of the beam search; 1 is none.", 4),
    "do_sample": _row(kinds.boolean(), "Draw tokens instead of taking the likeliest; by default as the model says."),
    "stream": _row(kinds.boolean(), "Answer with server-sent events; num_beams is then 1.", default=False),
    "seed": _row(kinds.integer(0, 2**63 - 1), "The same seed and request give the same text."),
    "return_full_text": _row(kinds.boolean(), "Put the prompt in front of the output.", default=False),
    "return_logprobs": _row(
        kinds.boolean(), "Tell how likely each token was; with return_full_text, the prompt's too.", default=False
    ),
    "top_logprobs": _row(kinds.integer(0, MAX_LOGPROBS), "With return_logprobs: this many of the likeliest beside it."),
}

GENERATION: Final[Mapping[str, Parameter]] = {
    "max_length": _row(kinds.integer(1, MAX_TOKENS), "The same as max_new_tokens here; the smaller one counts."),
    "min_length": _row(kinds.integer(0, MAX_TOKENS), "No end before prompt and output have this many tokens."),
    "min_new_tokens": _row(kinds.integer(0, MAX_TOKENS), "No end before the output has this many tokens."),
    "max_time": _row(kinds.number(0, 86400, above=True), "Seconds of computing; what is there then is the answer."),
    "stop_strings": _row(kinds.strings(), "The output ends with the first of these."),
    "early_stopping": _row(kinds.choice("never", *BOTH), "When a beam search has enough finished beams."),
    "num_return_sequences": _row(kinds.integer(1, MAX_BEAMS), "Outputs for each prompt."),
    "length_penalty": _row(kinds.number(-100, 100), "Above 0 favours longer beams."),
    "repetition_penalty": _row(kinds.number(0, 1e6, above=True), "Above 1 makes tokens that were seen less likely."),
    "encoder_repetition_penalty": _row(kinds.number(0, 1e6, above=True), "Above 1 favours tokens of the prompt."),
    "no_repeat_ngram_size": _row(kinds.integer(0, MAX_TOKENS), "No n-gram of this size twice."),
    "encoder_no_repeat_ngram_size": _row(
        # Transformers makes a list for each number up to this one, before the first step, while all others wait.
        kinds.integer(0, MAX_TOKENS),
        "No n-gram of this size out of the prompt.",
    ),
    "min_p": _row(kinds.number(0, 1), "Least probability, as a share of the likeliest token's."),
    "typical_p": _row(kinds.number(0, 1, above=True), "Sample from the most typical tokens of this share."),
    "top_h": _row(kinds.number(0, 1, above=True), "Sample within this share of the distribution's entropy."),
    "epsilon_cutoff": _row(kinds.number(0, 1, below=True), "Sample only tokens at least this likely."),
    "eta_cutoff": _row(kinds.number(0, 1, below=True), "A cutoff between locally typical and epsilon sampling."),
    "guidance_scale": _row(kinds.number(0, 1e3), "Above 1 follows the prompt more closely."),
    "renormalize_logits": _row(kinds.boolean(), "Normalise the scores after all processors."),
    "remove_invalid_values": _row(kinds.boolean(), "Replace nan and inf in the scores."),
    "bad_words_ids": _row(kinds.token_lists(), "Token sequences that may not appear."),
    "suppress_tokens": _row(kinds.tokens(), "Tokens that may not appear."),
    "begin_suppress_tokens": _row(kinds.tokens(), "Tokens the output may not begin with."),
    "sequence_bias": _row(kinds.biases(), "What is added to the score of token sequences."),
    "exponential_decay_length_penalty": _row(kinds.decay(), "From where on, and how fast, the end becomes likelier."),
    "forced_bos_token_id": _row(kinds.token(), "The token to begin with, for a prompt of one token."),
    "forced_eos_token_id": _row(kinds.tokens(or_one=True), "The token to end with when the room is used up."),
    "bos_token_id": _row(kinds.token(), "The start token."),
    "eos_token_id": _row(kinds.tokens(or_one=True), "The tokens that end the output."),
    "pad_token_id": _row(kinds.token(), "The token that fills finished sequences."),
    "decoder_start_token_id": _row(kinds.token(), "Used by encoder-decoder models only."),
    "watermarking_config": _row(
        kinds.record(
            greenlist_ratio=kinds.number(0, 1),
            bias=kinds.number(-1e3, 1e3),
            hashing_key=kinds.integer(0),
            seeding_scheme=kinds.choice("lefthash", "selfhash"),
            context_width=kinds.integer(1, 16),
        ),
        "Marks the output by favouring a pseudo-random part of the vocabulary.",
    ),
    "prompt_lookup_num_tokens": _row(kinds.integer(1, 64), "Guess this many tokens by looking them up in the prompt."),
    "max_matching_ngram_size": _row(kinds.integer(1, 64), "The longest n-gram that prompt lookup matches."),
    "use_cache": _row(kinds.boolean(), "Keep keys and values of past tokens."),
    "cache_implementation": _row(kinds.choice("dynamic", "static", "offloaded"), "How keys and values are kept."),
    "prefill_chunk_size": _row(kinds.integer(1, MAX_TOKENS), "Read the prompt in chunks of this many tokens."),
}

PARAMETERS: Final[Mapping[str, Parameter]] = {**OWN, **GENERATION}
HELD_TO: Final[Mapping[str, Parameter]] = {name: _row(kind, text) for name, (kind, text) in STRUCTURES.items()}
"""What a request alone can ask for: a deployment has no default of it."""
INPUT: Final = ("prompt", "messages")

_CODE = "it would load code, and this server runs none but its own"
_OBJECT = "it holds Python objects or tensors, which JSON cannot carry"
_HUB = "transformers has moved this strategy into code on the Hub, and this server loads none"
_ASSISTANT = "it belongs to an assistant model, and this server has none"
_OUTPUT = "the answer is text and token counts: there is no place in it for tensors"
_SERVER = "the deployment decides it, not a request"

REFUSED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("custom_generate", "trust_remote_code"), _CODE),
    **dict.fromkeys(
        (
            "streamer", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "inputs", "input_ids",
            "inputs_embeds", "attention_mask", "position_ids", "past_key_values", "negative_prompt_ids",
            "negative_prompt_attention_mask", "generation_config", "compile_config", "continuous_batching_config",
            "cache_config", "tokenizer",
        ),
        _OBJECT,
    ),
    **dict.fromkeys(
        ("penalty_alpha", "dola_layers", "num_beam_groups", "diversity_penalty", "constraints", "force_words_ids"),
        _HUB,
    ),
    **dict.fromkeys(
        (
            "assistant_model", "assistant_tokenizer", "is_assistant", "num_assistant_tokens",
            "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit",
            "assistant_lookbehind", "target_lookbehind", "assistant_ensemble_weight", "speculation_type", "use_mtp",
        ),
        _ASSISTANT,
    ),
    **dict.fromkeys(
        ("return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states"),
        _OUTPUT,
    ),
    **dict.fromkeys(("max_cache_len", "disable_compile", "synced_gpus"), _SERVER),
    "low_memory": "transformers no longer has it",
    "token_healing": "it rewrites the end of the prompt, so that output could not be told from prompt",
    "transformers_version": "it describes a file, not a request",
}  # fmt: skip


def check_asked(name: str, value: Json, vocabulary: int | None = None) -> Json:
    """Return the value of what a request asks for, which may be what its output is held to; else as `check`."""
    if name not in HELD_TO:
        return check(name, value, vocabulary)
    try:
        return HELD_TO[name].kind.check(value, vocabulary)
    except ValueError as error:
        raise fault(name, value, error) from None


def check(name: str, value: Json, vocabulary: int | None = None) -> Json:
    """Return the value as transformers takes it.

    Args: vocabulary is the number of token ids the model knows, None when no model is loaded yet.

    Raises:
        InvalidRequestError: the name is unknown or refused, or the value is not of its kind; it names the parameter.
    """
    if name in REFUSED:
        raise InvalidRequestError(f"{name} is not accepted: {REFUSED[name]}", code="refused_parameter", param=name)
    if name not in PARAMETERS:
        near = difflib.get_close_matches(name, (*INPUT, *PARAMETERS), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; GET /docs lists what there is"
        raise InvalidRequestError(
            f"there is no parameter {name[:100]}{hint}", code="unknown_parameter", param=name[:100]
        )
    try:
        return PARAMETERS[name].kind.check(value, vocabulary)
    except ValueError as error:
        raise fault(name, value, error) from None


def fault(name: str, value: Json, error: ValueError) -> InvalidRequestError:
    """Return what is said of a value that its kind does not take; of a compound one, of the place that is at fault."""
    if isinstance(error, kinds.WithinError):
        name, value = name + error.path, error.value
    return InvalidRequestError(f"{name} {error}; it is {shown(value)}", param=name)


def shown(value: Json) -> str:
    """A value as an error message may repeat it: as JSON, and short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):  # more digits than Python writes, or a value too deep
        text = "too long to be repeated"
    return text if len(text) <= 60 else text[:57] + "…"
