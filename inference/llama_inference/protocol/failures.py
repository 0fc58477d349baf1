"""The body of an answer that is not a success, in the shape that the callers of a path expect."""

from llama_inference.errors import RequestError
from llama_inference.protocol import answer
from llama_inference.protocol.openai import answers
from llama_inference.values import Json


def body(path: str, error: RequestError) -> dict[str, Json]:
    """Return the error body for a path: OpenAI's under /v1, but for predict's own names there."""
    speaks_openai = path.startswith("/v1/") and not path.endswith((":predict", "/predict"))
    return answers.failure(error) if speaks_openai else answer.failure(error)
