"""Why a look at a LlamaDeployment failed, in one word, for metrics and logs."""

from typing import Final, Literal

from llama_operator.errors import ClusterError

FailureReason = Literal[
    "conflict", "forbidden", "throttled", "server_error", "refused", "unreachable", "timeout", "bug"
]

_BY_STATUS: Final[dict[int, FailureReason]] = {409: "conflict", 401: "forbidden", 403: "forbidden", 429: "throttled"}


def reason_of(error: Exception) -> FailureReason:
    """Return the reason.

    conflict: something changed meanwhile, which is no fault; unreachable: the API server gave no answer; refused: it
    refused for another reason; timeout: the look took too long; bug: whatever nobody expected.
    """
    if isinstance(error, TimeoutError):
        return "timeout"
    if not isinstance(error, ClusterError):
        return "bug"
    if error.status is None:
        return "unreachable"
    return _BY_STATUS.get(error.status, "server_error" if error.status >= 500 else "refused")
