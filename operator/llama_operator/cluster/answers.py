"""What the API server answers when it does not do what it is asked, as a ClusterError with the status."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import aiohttp
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException

from llama_operator.errors import ClusterError, NamespaceTerminatingError


@contextmanager
def told(method: str, path: str) -> Generator[None]:
    """Make one kind of error of all that mean that there was no answer."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ApiException, ConfigException) as error:
        reason = str(error) or type(error).__name__
        raise ClusterError(f"no answer from the API server to {method} {path}: {reason}") from error


def refusal(method: str, path: str, status: int, answer: Mapping[str, Any] | None) -> ClusterError:
    """Return the error that an answer is, in the API server's words."""
    said = (answer or {}).get("message") or f"status {status} to {method} {path}, not from the Kubernetes API"
    kind = NamespaceTerminatingError if _is_terminating(answer or {}) else ClusterError
    return kind(said, status=status)


def _is_terminating(answer: Mapping[str, Any]) -> bool:
    causes = (answer.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def decoded(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None if it is none."""
    try:
        answer = json.loads(data)
    except ValueError:
        return None
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else None
