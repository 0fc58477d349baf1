"""What callers read: the predict answer, the end of a stream, and the error body."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import Final, Literal

from pydantic import BaseModel, Field

from llama_inference.errors import RequestError
from llama_inference.values import FinishReason, Generation, Json, Logprob, Outcome

LOWEST: Final = -9999.0  # for minus infinity, which JSON cannot carry


class Usage(BaseModel):
    """Token counts of the whole request; each prompt counts once, whatever is returned for it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Timings(BaseModel):
    """Seconds since the request arrived."""

    queued_s: float
    first_token_s: float
    total_s: float


class Ending(BaseModel):
    """What an answer says besides its text; the last event of a stream."""

    id: str
    model: str
    revision: str | None
    finish_reason: list[FinishReason]
    usage: Usage
    timings: Timings


class TokenLogprob(BaseModel):
    """A token, its text, and the natural logarithm of how likely the model held it."""

    token_id: int
    text: str
    logprob: float | None = Field(description="null for the first token of a prompt, before which there is nothing")


class ToldToken(TokenLogprob):
    """A token of an answer or prompt, and the likeliest ones in its place, best first."""

    top: list[TokenLogprob]


class Logprobs(BaseModel):
    """What return_logprobs asks for, of one returned sequence; the prompt's with return_full_text."""

    tokens: list[ToldToken]
    prompt: list[ToldToken] | None = None


class Texts(BaseModel):
    """The head of a successful answer: one string for each returned sequence, prompts in order."""

    status: Literal["success"] = "success"
    data: list[str]
    message: None = None


class Told(BaseModel):
    """One for each string in `data`, where `return_logprobs` is true."""

    logprobs: list[Logprobs] | None = None


class Answer(Ending, Told, Texts):
    """A successful answer."""


class StreamStep(BaseModel):
    """One event of a stream: new text of one sequence; `text` is empty while a character is incomplete."""

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[ToldToken] | None = Field(default=None, description="With return_logprobs: one for each token.")
    prompt_logprobs: list[ToldToken] | None = Field(
        default=None, description="The prompt's, once, with return_full_text."
    )


class Fault(BaseModel):
    """What went wrong, for programs."""

    code: str = Field(examples=["context_length_exceeded"])
    param: str | None = Field(examples=["max_new_tokens"])


class Failure(BaseModel):
    """The body of every answer that is not a success; also the `error` event of a stream."""

    status: Literal["error"] = "error"
    data: None = None
    message: str = Field(description="What is wrong and what to do.")
    error: Fault


def told(piece: Callable[[int], bytes], tokens: Seq[int], logprobs: Seq[Logprob | None]) -> list[ToldToken]:
    """Return tokens with what is known of each; `piece` gives a token's bytes."""

    def one(token: int, value: float | None) -> TokenLogprob:
        value = None if value is None else max(value, LOWEST)
        return TokenLogprob(token_id=token, text=piece(token).decode(errors="replace"), logprob=value)

    return [
        ToldToken(**dict(one(token, each and each.value)), top=[one(*other) for other in each.top] if each else [])
        for token, each in zip(tokens, logprobs, strict=True)
    ]


def ending(request_id: str, model: str, revision: str | None, generation: Generation, outcome: Outcome) -> Ending:
    """Return the ending of a finished generation."""
    prompt_tokens = sum(len(prompt) for prompt in generation.prompts)
    completion_tokens = sum(len(sequence.token_ids) for sequence in outcome.sequences)
    return Ending(
        id=request_id,
        model=model,
        revision=revision,
        finish_reason=[sequence.finish_reason for sequence in outcome.sequences],
        usage=Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
        ),
        timings=Timings(
            queued_s=round(outcome.queued_s, 4),
            first_token_s=round(outcome.first_token_s, 4),
            total_s=round(outcome.total_s, 4),
        ),
    )


def failure(error: RequestError) -> dict[str, Json]:
    """Return the error body."""
    return Failure(message=str(error), error=Fault(code=error.code, param=error.param)).model_dump()
