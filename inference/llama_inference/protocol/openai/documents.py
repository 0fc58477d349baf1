"""OpenAI's routes on the OpenAPI page: request schemas out of the table that checks them, and shapes of the answers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import BaseModel

from llama_inference.protocol.openai.fields import (
    FIELDS,
    INPUT,
    NOT_HERE,
    SWITCHED_OFF_BY,
    UNSUPPORTED,
    WITHOUT_EFFECT,
    Endpoint,
)
from llama_inference.protocol.openai.inputs import PARTS, ROLES
from llama_inference.protocol.openai.translate import DEFAULTS
from llama_inference.protocol.parameters import HELD_TO, PARAMETERS, Parameter
from llama_inference.values import Json

Reason = Literal["stop", "length"]


class Usage(BaseModel):
    """Token counts of the whole request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Message(BaseModel):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    refusal: None


class Likely(BaseModel):
    """A token, its bytes, and the natural logarithm of how likely the model held it."""

    token: str
    bytes: list[int]
    logprob: float


class Told(Likely):
    """A token of an answer, and the likeliest ones in its place, best first."""

    top_logprobs: list[Likely]


class ChatLogprobs(BaseModel):
    """What `logprobs` asks for in a chat: one for each token with a text."""

    content: list[Told]
    refusal: None


class TextLogprobs(BaseModel):
    """What `logprobs` asks for in a completion: lists of equal length; the first token of a prompt has null."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class ChatChoice(BaseModel):
    """One of `n` answers to a chat."""

    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: Reason


class TextChoice(BaseModel):
    """One of `n` continuations of a prompt; prompts in order."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Reason


class _Whole(BaseModel):
    id: str
    created: int
    model: str
    system_fingerprint: str | None
    usage: Usage


class ChatCompletion(_Whole):
    """The answer to a chat."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class Completion(_Whole):
    """The answer to a prompt."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class Model(BaseModel):
    """The model that is served; `root` is its repository, `max_model_len` its context once it is loaded."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    max_model_len: int | None


class Models(BaseModel):
    """The list of models: one."""

    object: Literal["list"]
    data: list[Model]


class Fault(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIFailure(BaseModel):
    """The body of every answer under /v1 that is not a success; also the last event of a stream that fails."""

    error: Fault


ANSWERS: Final[Mapping[Endpoint, type[BaseModel]]] = {
    Endpoint.CHAT: ChatCompletion, Endpoint.COMPLETION: Completion,
}  # fmt: skip
SUMMARIES: Final[Mapping[Endpoint, str]] = {
    Endpoint.CHAT: "Chat completion, as OpenAI's", Endpoint.COMPLETION: "Completion, as OpenAI's",
}  # fmt: skip
_OWN: Final = "Beside OpenAI's fields, this server's own parameters of generation are taken, as in /predict."
DESCRIPTIONS: Final[Mapping[Endpoint, str]] = {
    Endpoint.CHAT: f"Answers a chat, rendered with the model's own template. {_OWN}",
    Endpoint.COMPLETION: f"Continues a prompt, or each of a batch. {_OWN}",
}
_TEXT: Final = {"type": "string", "minLength": 1}
_IDS: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_PART: Final = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"type": {"const": kind}, kind: {"type": "string"}},
            "required": ["type", kind],
        }
        for kind in PARTS
    ]
}
_MESSAGE: Final = {
    "type": "object",
    "properties": {
        "role": {"enum": list(ROLES)},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART}, {"type": "null"}]},
        "name": {"type": "string"},
    },
    "required": ["role"],
}
INPUTS: Final[Mapping[Endpoint, dict[str, Json]]] = {
    Endpoint.CHAT: {"description": "The chat to continue.", "type": "array", "items": _MESSAGE, "minItems": 1},
    Endpoint.COMPLETION: {
        "description": "The text to continue, as text or token ids, or a batch of such.",
        "anyOf": [
            _TEXT, _IDS, *({"type": "array", "items": item, "minItems": 1} for item in (_TEXT, _IDS)),
        ],
    },
}  # fmt: skip
_EXAMPLES: Final[Mapping[Endpoint, dict[str, Json]]] = {
    Endpoint.CHAT: {"messages": [{"role": "user", "content": "What is the meaning of life?"}]},
    Endpoint.COMPLETION: {"prompt": "The meaning of life is", "max_tokens": 32},
}


def schema(endpoint: Endpoint) -> dict[str, Json]:
    """Return the JSON schema of a request."""
    own = {name: replace(row, default=DEFAULTS.get(name)) for name, row in PARAMETERS.items() if name not in NOT_HERE}
    rows = {**own, **HELD_TO, **FIELDS[endpoint]}
    asking_for_nothing = {name: _asking_for_nothing(name) for name in sorted(UNSUPPORTED) if name not in rows}
    return {
        "type": "object",
        "description": "Not supported: " + ", ".join(sorted(UNSUPPORTED)) + ".",
        "properties": {
            INPUT[endpoint]: INPUTS[endpoint],
            **{name: _property(row) for name, row in rows.items()},
            **{name: row for name, row in asking_for_nothing.items() if row},
            **{name: {"description": "Has no effect here."} for name in sorted(WITHOUT_EFFECT)},
        },
        "required": ["model", INPUT[endpoint]],
        "additionalProperties": False,
    }


def _asking_for_nothing(name: str) -> dict[str, Json]:
    """What the page says of a field that is not supported: the values that are taken all the same, if any."""
    values, reason = UNSUPPORTED[name]
    if name in SWITCHED_OFF_BY:
        switch, value = SWITCHED_OFF_BY[name]
        return {"description": f"Taken when {switch} is {value}, or when empty: {reason}."}
    return {"description": f"Not supported: {reason}.", "enum": list(values)} if values else {}


def _property(row: Parameter) -> dict[str, Json]:
    found = {"description": row.text, **row.kind.schema}
    return found if row.default is None else {**found, "default": row.default}


def request(endpoint: Endpoint, *headers: dict[str, Json]) -> dict[str, Json]:
    """Return what the OpenAPI page says of a request."""
    body = {"schema": schema(endpoint), "example": {"model": "llama-2-70b", **_EXAMPLES[endpoint]}}
    return {
        "parameters": list(headers),
        "requestBody": {"required": True, "content": {"application/json": body}},
    }


def responses(endpoint: Endpoint, errors: Mapping[int | str, Mapping[str, Json]]) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI page says of the answers; `errors` are its rows for those that are not a success."""
    stream = {"example": 'data: {"id":"…","choices":[…]}\n\ndata: [DONE]\n\n'}
    return {
        200: {"model": ANSWERS[endpoint], "content": {"text/event-stream": stream}},
        **failures(errors),
    }


def failures(errors: Mapping[int | str, Mapping[str, Json]]) -> dict[int | str, dict[str, Any]]:
    """Return the rows for answers that are not a success, in OpenAI's shape."""
    return {status: {**row, "model": OpenAIFailure} for status, row in errors.items()}
