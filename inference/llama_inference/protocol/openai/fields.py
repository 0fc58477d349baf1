"""The fields of OpenAI's requests: how a value is checked, what has no effect here, and what cannot be had and why.

One table for validation and for the OpenAPI page. Beside these fields a request may hold this server's own parameters
of generation (`protocol.parameters`), which OpenAI's clients send by `extra_body`.
"""

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from llama_inference.errors import InvalidRequestError
from llama_inference.protocol import kinds
from llama_inference.protocol.kinds import Kind
from llama_inference.protocol.parameters import (
    HELD_TO,
    MAX_BEAMS,
    MAX_LOGPROBS,
    MAX_TOKENS,
    PARAMETERS,
    REFUSED,
    Parameter,
    check_asked,
    fault,
)
from llama_inference.values import Json


class Endpoint(StrEnum):
    """Which of OpenAI's two requests; each names its objects after itself."""

    CHAT = "chat.completion"
    COMPLETION = "text_completion"


def _row(kind: Kind, text: str, default: Json = None) -> Parameter:
    return Parameter(kind, text, default)


VLLMS: Final[Mapping[str, Parameter]] = {  # names that vLLM gave to what this server calls otherwise
    "min_tokens": _row(kinds.integer(0, MAX_TOKENS), "vLLM's name of min_new_tokens."),
    "ignore_eos": _row(kinds.boolean(), "Go on after the model's end tokens.", default=False),
    "stop_token_ids": _row(kinds.also(kinds.tokens(), []), "The output ends with these tokens too."),
    "include_stop_str_in_output": _row(kinds.boolean(), "Leave the stop string in the output.", default=False),
}
SHARED: Final[Mapping[str, Parameter]] = {
    "model": _row(kinds.text(), "The name that GET /v1/models lists."),
    "temperature": _row(kinds.number(0, 2), "Flattens (above 1) or sharpens the distribution; 0 is greedy.", 1.0),
    "top_p": _row(
        kinds.number(0, 1),
        "Sample from the likeliest tokens that make up this share; 0 leaves the likeliest alone.",
        1.0,
    ),
    "top_k": _row(kinds.integer(-1), "Sample from this many of the likeliest tokens; 0 and -1 switch it off.", 0),
    "n": _row(kinds.integer(1, MAX_BEAMS), "Choices for each prompt.", 1),
    "stop": _row(kinds.also(kinds.strings(), []), "The output ends before the first of these."),
    "stream": _row(kinds.boolean(), "Answer with server-sent events.", default=False),
    "stream_options": _row(
        kinds.record(
            include_usage=kinds.boolean(), include_obfuscation=kinds.boolean(), continuous_usage_stats=kinds.boolean()
        ),
        "include_usage: the last chunk counts tokens; continuous_usage_stats: each chunk counts those so far.",
    ),
    "presence_penalty": _row(kinds.number(-2, 2), "Above 0 makes tokens that were output once less likely.", 0.0),
    "frequency_penalty": _row(kinds.number(-2, 2), "Above 0 makes tokens less likely the more often they came.", 0.0),
    "logit_bias": _row(kinds.biases_by_token(), "What is added to the scores of tokens."),
    "seed": _row(kinds.integer(-(2**63), 2**63 - 1), "The same seed and request give the same text."),
    "add_special_tokens": _row(
        kinds.boolean(), "Put the start token in front of the prompt; a template writes its own."
    ),
    **VLLMS,
}
CHAT_TEMPLATE: Final[Mapping[str, Parameter]] = {  # how a chat becomes a prompt
    "add_generation_prompt": _row(kinds.boolean(), "End the prompt with the head of the answer.", default=True),
    "continue_final_message": _row(kinds.boolean(), "Go on with the last message.", default=False),
    "chat_template_kwargs": _row(kinds.variables(), "Variables for the model's template."),
}
MAX_TOKENS_TEXT: Final = "Tokens of the output alone"
FIELDS: Final[Mapping[Endpoint, Mapping[str, Parameter]]] = {
    Endpoint.CHAT: {
        **SHARED,
        "max_completion_tokens": _row(
            kinds.also(kinds.integer(1), -1), f"{MAX_TOKENS_TEXT}; by default, and for -1, what the context leaves."
        ),
        "max_tokens": _row(kinds.also(kinds.integer(1), -1), "The older name of max_completion_tokens."),
        "logprobs": _row(kinds.boolean(), "Tell how likely each token was.", default=False),
        "top_logprobs": _row(kinds.integer(0, MAX_LOGPROBS), "With logprobs: this many of the likeliest beside it."),
        **CHAT_TEMPLATE,
    },
    Endpoint.COMPLETION: {
        **SHARED,
        "max_tokens": _row(
            kinds.integer(-1),
            f"{MAX_TOKENS_TEXT}; 0 with echo, to read the prompt alone; -1 is what the context leaves.",
            16,
        ),
        "logprobs": _row(
            kinds.integer(0, MAX_LOGPROBS),
            "Tell how likely each token was, with echo the prompt's too, and this many of the likeliest beside it.",
        ),
        "echo": _row(kinds.boolean(), "Put the prompt in front of the output.", default=False),
        "best_of": _row(kinds.integer(1, MAX_BEAMS), "Only as many as n: all that is generated is returned."),
    },
}
INPUT: Final[Mapping[Endpoint, str]] = {Endpoint.CHAT: "messages", Endpoint.COMPLETION: "prompt"}

# Said to OpenAI's own service, to another server, or to a model with other abilities; the text is the same without.
WITHOUT_EFFECT: Final = frozenset(
    {
        "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "prompt_cache_options", "parallel_tool_calls", "reasoning_effort", "include_reasoning", "priority",
        "cache_salt", "cache_prompt", "request_id", "spaces_between_special_tokens",
    }
)  # fmt: skip
_TOOLS = "this server calls no tools: describe them in the messages, and read the call out of the text"
_TEXT = "this server takes and returns text"
_IDS = "the answer holds text and no token ids: POST /tokenize has them"
UNSUPPORTED: Final[Mapping[str, tuple[tuple[Json, ...], str]]] = {  # name → values that ask for nothing, reason
    "prompt_logprobs": ((), "/v1/completions tells them with echo and logprobs"),
    "tools": (([],), _TOOLS),
    "tool_choice": (("none", "auto"), _TOOLS),
    "functions": (([],), _TOOLS),
    "function_call": (("none", "auto"), _TOOLS),
    "modalities": ((["text"],), _TEXT),
    "audio": ((), _TEXT),
    "mm_processor_kwargs": (({},), _TEXT),
    "web_search_options": ((), "this server searches nothing"),
    "prediction": ((), "this server takes no predicted output"),
    "moderation": ((), "this server moderates nothing"),
    "verbosity": (("medium",), "it is for OpenAI's own models: say in the messages how long the answer is to be"),
    "suffix": (("",), "the model continues a text; it does not fill a gap in one"),
    "skip_special_tokens": ((True,), "special tokens are no part of the text here"),
    "return_token_ids": ((False,), _IDS),
    "return_tokens_as_token_ids": ((False,), _IDS),
    "use_beam_search": ((False,), "it is called num_beams here: the number of beams"),
    "bad_words": (([],), "send bad_words_ids, which are token ids: POST /tokenize has them"),
    "allowed_token_ids": (([],), "forbid the others by suppress_tokens, or favour these by logit_bias"),
    "logits_processors": (([],), "they are code, and this server runs none but its own"),
    "truncate_prompt_tokens": ((), "shorten the prompt: POST /tokenize counts its tokens"),
    "chat_template": ((), "chats are rendered with the model's own template; chat_template_kwargs are its variables"),
    "documents": (([],), "put them into the messages"),
}
SWITCHED_OFF_BY: Final[Mapping[str, tuple[str, Json]]] = {  # name → what makes any value of it ask for nothing
    "tools": ("tool_choice", "none"),
    "functions": ("function_call", "none"),
}
OUTPUT_ALONE: Final = (
    "on this route max_tokens bounds the output alone; {name} counts the prompt too, and belongs to /predict"
)
NOT_HERE: Final[Mapping[str, str]] = {
    "max_new_tokens": OUTPUT_ALONE.format(name="max_new_tokens"),
    "max_length": OUTPUT_ALONE.format(name="max_length"),
    "num_return_sequences": "on this route it is called n",
    "return_logprobs": "on this route it is called logprobs",
    "return_full_text": "on this route it is called echo, and only /v1/completions has it",
}


def read(wire: Mapping[str, Json], endpoint: Endpoint, vocabulary: int) -> dict[str, Json]:
    """Return the checked values of a request's fields, but for its input and what has no effect.

    Raises:
        InvalidRequestError: naming the first field that cannot be taken, and why.
    """
    off = {name for name, (switch, value) in SWITCHED_OFF_BY.items() if wire.get(switch) == value}
    skipped = {INPUT[endpoint], *WITHOUT_EFFECT, *off}
    values = {name: _read(name, value, endpoint, vocabulary) for name, value in wire.items() if name not in skipped}
    return {name: value for name, value in values.items() if name not in UNSUPPORTED}


def _read(name: str, value: Json, endpoint: Endpoint, vocabulary: int) -> Json:
    if name in UNSUPPORTED:
        harmless, reason = UNSUPPORTED[name]
        if not any(type(value) is type(each) and value == each for each in harmless):
            raise InvalidRequestError(f"{name} is not supported: {reason}", code="unsupported_parameter", param=name)
        return value
    row = FIELDS[endpoint].get(name)
    if row is not None:
        try:
            return row.kind.check(value, vocabulary)
        except ValueError as error:
            raise fault(name, value, error) from None
    if name in NOT_HERE:
        raise InvalidRequestError(f"{name} is not accepted: {NOT_HERE[name]}", code="refused_parameter", param=name)
    if name in PARAMETERS or name in REFUSED or name in HELD_TO:
        return check_asked(name, value, vocabulary)
    near = difflib.get_close_matches(name, (INPUT[endpoint], *FIELDS[endpoint], *PARAMETERS), n=1)
    hint = f"; did you mean {near[0]}?" if near else "; GET /docs lists what there is"
    raise InvalidRequestError(f"there is no parameter {name[:100]}{hint}", code="unknown_parameter", param=name[:100])
