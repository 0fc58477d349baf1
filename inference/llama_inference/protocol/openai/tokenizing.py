"""`/tokenize` and `/detokenize`, in vLLM's shapes: what a text, a chat or token ids come to; nothing is computed."""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import Final

from pydantic import BaseModel

from llama_inference.backends.base import Backend
from llama_inference.errors import InvalidRequestError
from llama_inference.protocol import kinds
from llama_inference.protocol.openai import inputs
from llama_inference.protocol.openai.documents import INPUTS
from llama_inference.protocol.openai.fields import CHAT_TEMPLATE, SHARED, Endpoint
from llama_inference.protocol.parameters import Parameter, fault, shown
from llama_inference.protocol.predict import check_text
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Json, ModelInfo

COMMON: Final[Mapping[str, Parameter]] = {
    "model": SHARED["model"],
    "add_special_tokens": SHARED["add_special_tokens"],
    "return_token_strs": Parameter(kinds.boolean(), "Tell the text of each token, too.", default=False),
}
TOKENIZE: Final[Mapping[str, Parameter]] = {**COMMON, **CHAT_TEMPLATE}
INPUT: Final = ("prompt", "messages")


class Tokenized(BaseModel):
    """The token ids of a text or a chat; `token_strs` holds the text of each where that was asked for."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(BaseModel):
    """The text of token ids, special tokens included."""

    prompt: str


def tokenize(wire: Mapping[str, Json], backend: Backend) -> dict[str, Json]:
    """Return the body of the answer to a request to tokenize. It may take a moment: run it beside the event loop.

    Raises:
        InvalidRequestError: naming the field that cannot be taken.
    """
    wire = {name: value for name, value in wire.items() if value is not None}
    given = {name: _read(name, value, TOKENIZE) for name, value in wire.items() if name not in INPUT}
    if ("prompt" in wire) == ("messages" in wire):
        raise InvalidRequestError("give either prompt or messages: what is to be tokenized", param="prompt")
    if "messages" in wire:
        messages = inputs.messages(wire)
        text = backend.render(messages, **inputs.template(given, wire))
    else:
        text = _text(wire["prompt"])
    ids = backend.encode(text, special=given.get("add_special_tokens", "prompt" in wire))
    strings = [_written([each], backend.vocabulary) for each in ids] if given.get("return_token_strs") else None
    return Tokenized(
        count=len(ids), max_model_len=backend.info.max_context, tokens=ids, token_strs=strings
    ).model_dump()


def detokenize(wire: Mapping[str, Json], backend: Backend) -> dict[str, Json]:
    """Return the body of the answer to a request to detokenize.

    Raises:
        InvalidRequestError: naming the field, or the token id, that cannot be taken.
    """
    wire = {name: value for name, value in wire.items() if value is not None}
    for name, value in wire.items():
        if name != "tokens":
            _read(name, value, {"model": SHARED["model"]})
    return Detokenized(prompt=_written(_ids(wire.get("tokens"), backend.info), backend.vocabulary)).model_dump()


def _written(ids: Seq[int], vocabulary: Vocabulary) -> str:
    """The text of token ids with that of special ones, which stand where they stand; half a character is U+FFFD."""
    found: list[bytes] = []
    after: int | None = None
    for token in ids:
        if vocabulary.hidden(token):
            found.append(vocabulary.literal(token))
        else:
            found.append(vocabulary.adds(token, after))
            after = token
    return b"".join(found).decode(errors="replace")


def _read(name: str, value: Json, rows: Mapping[str, Parameter]) -> Json:
    if name not in rows:
        message = f"there is no parameter {name[:100]} here; there are {', '.join(rows)}"
        raise InvalidRequestError(message, code="unknown_parameter", param=name[:100])
    try:
        return rows[name].kind.check(value, None)
    except ValueError as error:
        raise fault(name, value, error) from None


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"prompt must be a text; it is {shown(value)}", param="prompt")
    check_text(value, "prompt")
    return value


def _ids(value: Json, model: ModelInfo) -> Seq[int]:
    if not isinstance(value, list):
        raise InvalidRequestError(f"tokens must be a list of token ids; it is {shown(value)}", param="tokens")
    one = kinds.token()
    for place, item in enumerate(value):
        try:
            one.check(item, model.vocabulary)
        except ValueError as error:
            raise fault(f"tokens[{place}]", item, error) from None
    return [int(item) for item in value]


def schemas() -> dict[str, dict[str, Json]]:
    """Return the JSON schema of each request, by its path."""
    rows = {name: {"description": row.text, **row.kind.schema} for name, row in TOKENIZE.items()}
    texts = {"prompt": {"type": "string"}, "messages": INPUTS[Endpoint.CHAT]}
    ids = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    return {
        "/tokenize": {
            "type": "object",
            "properties": {**texts, **rows},
            "oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
            "additionalProperties": False,
        },
        "/detokenize": {
            "type": "object",
            "properties": {"tokens": ids, "model": rows["model"]},
            "required": ["tokens"],
            "additionalProperties": False,
        },
    }
