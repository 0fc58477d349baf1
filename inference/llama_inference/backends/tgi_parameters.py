"""A request's parameters as TGI's `/generate_stream` takes them, and its answers as ours. Pure.

Which parameters come here at all is decided by `backends.abilities`. TGI refuses values that ask for nothing, such as
`top_p` 1, so that those are left out. Stop strings are found here: it is not told of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llama_inference.errors import InternalError, InvalidRequestError, RequestError, UnavailableError
from llama_inference.values import FinishReason, Generation, Json

REASONS: Final[Mapping[str, FinishReason]] = {
    "length": FinishReason.LENGTH,
    "eos_token": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
}
OVERLOADED_AGAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Token:
    """One event of a stream: a token, and why the output ends with it."""

    id: int
    reason: FinishReason | None


def body(generation: Generation, prompt: tuple[int, ...], text: str, seed: int) -> dict[str, Json]:
    """Return the body of a request for one sequence; `text` is the prompt."""
    given = generation.parameters
    values: dict[str, Json] = {
        "details": True,
        "max_new_tokens": generation.room(len(prompt)),
        "do_sample": bool(given.get("do_sample")),
    }
    if values["do_sample"]:
        values["seed"] = max(1, seed)  # TGI takes no 0
        values["temperature"] = given.get("temperature")
        values["top_k"] = given.get("top_k") or None
        values |= {name: _below_one(given.get(name)) for name in ("top_p", "typical_p")}
    penalty = given.get("repetition_penalty")
    values["repetition_penalty"] = None if penalty == 1 else penalty
    values["frequency_penalty"] = given.get("frequency_penalty") or None
    return {"inputs": text, "parameters": {name: value for name, value in values.items() if value is not None}}


def _below_one(share: Json) -> Json:
    return None if share is None or share >= 1 else share


def read(line: str) -> Token | None:
    """Return what one line of the event stream says; None for a line that carries nothing.

    Raises:
        RequestError: the event is an error, or not one of TGI's.
    """
    if not line.startswith("data:"):
        return None
    try:
        event: Json = json.loads(line.removeprefix("data:"))
        if "error" in event:
            raise failure(424, event)
        details = event.get("details")
        return Token(int(event["token"]["id"]), REASONS[details["finish_reason"]] if details else None)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InternalError(f"TGI sent an event that is none of its own: {error!r}", code="bad_gateway") from error


def failure(status: int, content: Json) -> RequestError:
    """Return the error that a caller is told for one of TGI's."""
    kind = content.get("error_type") if isinstance(content, dict) else None
    said = str(content.get("error") if isinstance(content, dict) else content)[:500]
    if kind == "validation" or status in (400, 413, 422):
        return InvalidRequestError(f"TGI refuses this request: {said}")
    if kind == "overloaded" or status == 429:
        return UnavailableError(f"TGI is overloaded: {said}", code="overloaded", retry_after=OVERLOADED_AGAIN_S)
    return InternalError(f"TGI failed: {said}", code="bad_gateway")
