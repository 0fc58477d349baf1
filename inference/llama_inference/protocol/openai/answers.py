"""What OpenAI's clients read: completions, chunks of a stream, the list of models, and the error body.

Objects are built as plain dictionaries: a chunk is made for each token, and its shape is fixed. `documents` describes
the same shapes for the OpenAPI page; a test compares both with the true client's types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llama_inference.errors import RequestError
from llama_inference.protocol.openai.fields import Endpoint
from llama_inference.values import FinishReason, Generation, Json, Outcome

ID_PREFIX: Final[Mapping[Endpoint, str]] = {Endpoint.CHAT: "chatcmpl-", Endpoint.COMPLETION: "cmpl-"}
OWNER: Final = "llama-operator"
TYPES: Final[Mapping[int, str]] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What all objects of one answer have in common; `created` is in seconds since 1970."""

    endpoint: Endpoint
    request_id: str
    created: int
    model: str
    revision: str | None
    include_usage: bool = False

    def _object(self, kind: str, choices: list[Json]) -> dict[str, Json]:
        return {
            "id": ID_PREFIX[self.endpoint] + self.request_id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.revision,
            "choices": choices,
        }

    def whole(
        self, texts: list[str], reasons: list[str], usage: dict[str, Json], logprobs: list[Json]
    ) -> dict[str, Json]:
        """The answer to a request without a stream: one text, reason and object of log-probabilities a choice."""
        chat = self.endpoint is Endpoint.CHAT
        choices: list[Json] = [
            {"index": index, "logprobs": told, "finish_reason": reason, **(_message(text) if chat else {"text": text})}
            for index, (text, reason, told) in enumerate(zip(texts, reasons, logprobs, strict=True))
        ]
        return {**self._object(self.endpoint.value, choices), "usage": usage}

    def opening(self, index: int) -> dict[str, Json] | None:
        """The first chunk of a choice; a completion has none."""
        return self._chunk(index, {"role": "assistant", "content": ""}) if self.endpoint is Endpoint.CHAT else None

    def piece(self, index: int, text: str, logprobs: Json = None) -> dict[str, Json]:
        """A chunk with new text of a choice."""
        return self._chunk(index, {"content": text} if self.endpoint is Endpoint.CHAT else text, logprobs)

    def closing(self, index: int, reason: str, logprobs: Json = None) -> dict[str, Json]:
        """The last chunk of a choice."""
        return self._chunk(index, {} if self.endpoint is Endpoint.CHAT else "", logprobs, reason)

    def counted(self, usage: dict[str, Json]) -> dict[str, Json]:
        """The last chunk of a stream that is to count tokens."""
        return {**self._object(self._chunk_kind, []), "usage": usage}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.endpoint is Endpoint.CHAT else self.endpoint.value

    def _chunk(self, index: int, content: Json, logprobs: Json = None, reason: str | None = None) -> dict[str, Json]:
        key = "delta" if self.endpoint is Endpoint.CHAT else "text"
        choice = {"index": index, key: content, "logprobs": logprobs, "finish_reason": reason}
        chunk = self._object(self._chunk_kind, [choice])
        if self.include_usage:
            chunk["usage"] = None
        return chunk


def _message(text: str) -> dict[str, Json]:
    return {"message": {"role": "assistant", "content": text, "refusal": None}}


def usage(generation: Generation, completion: int, *, copies: int = 1) -> dict[str, Json]:
    """Token counts, `completion` those of the output; each prompt counts once, whatever is returned for it.

    Args: copies is how often each prompt stands in the generation.
    """
    prompt = sum(len(tokens) for tokens in generation.prompts) // copies
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def reasons(outcome: Outcome) -> list[str]:
    """Why each choice ended, in OpenAI's words, which know no time limit."""
    return ["stop" if each.finish_reason is FinishReason.STOP else "length" for each in outcome.sequences]


def model(name: str, created: int, *, source: str, max_context: int | None) -> dict[str, Json]:
    """One model, and what other servers say of it beside OpenAI's fields: its repository and its context."""
    return {
        "id": name, "object": "model", "created": created, "owned_by": OWNER, "root": source,
        "max_model_len": max_context,
    }  # fmt: skip


def failure(error: RequestError) -> dict[str, Json]:
    """Return the error body."""
    kind = TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}
