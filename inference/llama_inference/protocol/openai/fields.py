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
    PARAMETERS,
    REFUSED,
    Parameter,
    check_asked,
    shown,
)
from llama_inference.values import Json


class Endpoint(StrEnum):
    """Which of OpenAI's two requests; each names its objects after itself."""

    CHAT = "chat.completion"
    COMPLETION = "text_completion"


def _text() -> Kind:
    def check_text(value: Json, _: int | None) -> Json:
        if not isinstance(value, str):
            raise ValueError("must be a string")  # noqa: TRY004 - every kind raises the same
        return value

    return Kind(check_text, {"type": "string"})


def _logit_bias() -> Kind:
    """Token id → what is added to its score; as pairs, the way `sequence_bias` takes them."""
    token, amount = kinds.token(), kinds.number(-100, 100)

    def check_bias(value: Json, vocabulary: int | None) -> Json:
        if not isinstance(value, dict) or not all(str(key).isascii() and str(key).isdigit() for key in value):
            raise ValueError('must be an object of token ids and biases, such as {"1234": -100}')
        kinds.at_most(len(value), kinds.MOST_IDS, "token ids")
        return [[[token.check(int(key), vocabulary)], amount.check(bias, vocabulary)] for key, bias in value.items()]

    schema = {"type": "object", "additionalProperties": amount.schema, "maxProperties": kinds.MOST_IDS}
    return Kind(check_bias, schema)


def _row(kind: Kind, text: str, default: Json = None) -> Parameter:
    return Parameter(kind, text, default)


SHARED: Final[Mapping[str, Parameter]] = {
    "model": _row(_text(), "The name that GET /v1/models lists."),
    "temperature": _row(kinds.number(0, 2), "Flattens (above 1) or sharpens the distribution; 0 is greedy.", 1.0),
    "top_p": _row(kinds.number(0, 1, above=True), "Sample from the likeliest tokens that make up this share.", 1.0),
    "n": _row(kinds.integer(1, MAX_BEAMS), "Choices for each prompt.", 1),
    "stop": _row(kinds.strings(), "The output ends before the first of these."),
    "stream": _row(kinds.boolean(), "Answer with server-sent events.", default=False),
    "stream_options": _row(
        kinds.record(include_usage=kinds.boolean(), include_obfuscation=kinds.boolean()),
        "include_usage: the last chunk counts tokens.",
    ),
    "presence_penalty": _row(kinds.number(-2, 2), "Above 0 makes tokens that were output once less likely.", 0.0),
    "frequency_penalty": _row(kinds.number(-2, 2), "Above 0 makes tokens less likely the more often they came.", 0.0),
    "logit_bias": _row(_logit_bias(), "What is added to the scores of tokens."),
    "seed": _row(kinds.integer(-(2**63), 2**63 - 1), "The same seed and request give the same text."),
}
MAX_TOKENS_TEXT: Final = "Tokens of the output alone"
FIELDS: Final[Mapping[Endpoint, Mapping[str, Parameter]]] = {
    Endpoint.CHAT: {
        **SHARED,
        "max_completion_tokens": _row(kinds.integer(1), f"{MAX_TOKENS_TEXT}; by default what the context leaves."),
        "max_tokens": _row(kinds.integer(1), "The older name of max_completion_tokens."),
        "logprobs": _row(kinds.boolean(), "Tell how likely each token was.", default=False),
        "top_logprobs": _row(kinds.integer(0, MAX_LOGPROBS), "With logprobs: this many of the likeliest beside it."),
    },
    Endpoint.COMPLETION: {
        **SHARED,
        "max_tokens": _row(kinds.integer(0), f"{MAX_TOKENS_TEXT}; 0 with echo, to read the prompt alone.", 16),
        "logprobs": _row(
            kinds.integer(0, MAX_LOGPROBS),
            "Tell how likely each token was, with echo the prompt's too, and this many of the likeliest beside it.",
        ),
        "echo": _row(kinds.boolean(), "Put the prompt in front of the output.", default=False),
        "best_of": _row(kinds.integer(1, MAX_BEAMS), "Only as many as n: all that is generated is returned."),
    },
}
INPUT: Final[Mapping[Endpoint, str]] = {Endpoint.CHAT: "messages", Endpoint.COMPLETION: "prompt"}

# Said to OpenAI's own service, or to a model with abilities that no text model has; the text is the same without them.
WITHOUT_EFFECT: Final = frozenset(
    {
        "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "prompt_cache_options", "parallel_tool_calls",
    }
)  # fmt: skip
_TOOLS = "this server calls no tools: describe them in the messages, and read the call out of the text"
_TEXT = "this server takes and returns text"
_REASONING = "it is for OpenAI's own reasoning models"
UNSUPPORTED: Final[Mapping[str, tuple[tuple[Json, ...], str]]] = {  # name → values that ask for nothing, reason
    "tools": (([],), _TOOLS),
    "tool_choice": (("none",), _TOOLS),
    "functions": (([],), _TOOLS),
    "function_call": (("none",), _TOOLS),
    "modalities": ((["text"],), _TEXT),
    "audio": ((), _TEXT),
    "web_search_options": ((), "this server searches nothing"),
    "prediction": ((), "this server takes no predicted output"),
    "moderation": ((), "this server moderates nothing"),
    "reasoning_effort": ((), _REASONING),
    "verbosity": ((), _REASONING),
    "suffix": (("",), "the model continues a text; it does not fill a gap in one"),
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
    skipped = {INPUT[endpoint], *WITHOUT_EFFECT}
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
            raise InvalidRequestError(f"{name} {error}; it is {shown(value)}", param=name) from None
    if name in NOT_HERE:
        raise InvalidRequestError(f"{name} is not accepted: {NOT_HERE[name]}", code="refused_parameter", param=name)
    if name in PARAMETERS or name in REFUSED or name in HELD_TO:
        return check_asked(name, value, vocabulary)
    near = difflib.get_close_matches(name, (INPUT[endpoint], *FIELDS[endpoint], *PARAMETERS), n=1)
    hint = f"; did you mean {near[0]}?" if near else "; GET /docs lists what there is"
    raise InvalidRequestError(f"there is no parameter {name[:100]}{hint}", code="unknown_parameter", param=name[:100])
