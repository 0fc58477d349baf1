"""Errors in the shape, and with the status, that the callers of a path expect."""

from llama_inference.errors import RequestError
from llama_inference.protocol import answer
from llama_inference.protocol.openai import answers
from llama_inference.values import Json

BESIDE_V1 = frozenset({"/tokenize", "/detokenize"})  # of the same family, though not under /v1


def speaks_openai(path: str) -> bool:
    """Whether the callers of a path are OpenAI's clients: those under /v1, but for predict's own names there."""
    return path in BESIDE_V1 or (path.startswith("/v1/") and not path.endswith((":predict", "/predict")))


def body(path: str, error: RequestError) -> dict[str, Json]:
    """Return the error body for a path."""
    return answers.failure(error) if speaks_openai(path) else answer.failure(error)
