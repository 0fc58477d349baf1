"""Log-probabilities in OpenAI's two shapes: a chat's, token by token, and a completion's, list by list."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import Final, Protocol

from llama_inference.values import Json, Logprob

LOWEST: Final = -9999.0  # OpenAI's own word for minus infinity, which JSON cannot carry


class Place(Protocol):
    """A token of a text: where it begins, which one it is, and how likely it was."""

    @property
    def start(self) -> int: ...  # noqa: D102 - `stream.logprobs.Placed` says it
    @property
    def token(self) -> int: ...  # noqa: D102
    @property
    def logprob(self) -> Logprob | None: ...  # noqa: D102


def rounded(value: float) -> float:
    """A log-probability as JSON can carry it."""
    return max(value, LOWEST)


def chat(places: Seq[Place], piece: Callable[[int], bytes]) -> dict[str, Json]:
    """Return `logprobs` of a choice or chunk; `piece` gives a token's bytes."""

    def token(number: int, value: float) -> dict[str, Json]:
        content = piece(number)
        return {"token": content.decode(errors="replace"), "bytes": list(content), "logprob": rounded(value)}

    content: list[Json] = [
        {
            **token(place.token, place.logprob.value),
            "top_logprobs": [token(*each) for each in place.logprob.top],
        }
        for place in places
        if place.logprob is not None
    ]
    return {"content": content, "refusal": None}


def completion(places: Seq[Place], piece: Callable[[int], bytes]) -> dict[str, Json]:
    """Return `logprobs` of a choice or chunk; where a token's alternatives are told, it is one of them."""
    return {
        "tokens": [_shown(piece(place.token)) for place in places],
        "token_logprobs": [None if place.logprob is None else rounded(place.logprob.value) for place in places],
        "top_logprobs": [None if place.logprob is None else _table(place.logprob, piece) for place in places],
        "text_offset": [place.start for place in places],
    }


def _table(logprob: Logprob, piece: Callable[[int], bytes]) -> dict[str, float]:
    found: dict[str, float] = {}
    for token, value in (*logprob.top, (logprob.token, logprob.value)):
        found.setdefault(_shown(piece(token)), rounded(value))
    return found


def _shown(content: bytes) -> str:
    """A token's text; of a part of a character its bytes, as OpenAI writes them, so that no two are the same."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)
