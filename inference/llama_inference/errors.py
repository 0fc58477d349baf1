"""The error tree: each class says who acts, each message says what to do.

`RequestError` is what a caller sees: the class fixes the HTTP status, and `app` writes the body in one place.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final

CHALLENGE: Final = 'Bearer realm="llama-inference", Api-Key realm="llama-inference"'


class InferenceError(Exception):
    """Base of every error this server raises on purpose."""


class ConfigurationError(InferenceError):
    """The environment or the command line cannot be used: the process stops with exit code 2."""


class EngineLostError(InferenceError):
    """The device or the engine thread is gone: the process stops, so that its supervisor starts a fresh one."""


class AbandonedError(InferenceError):
    """Nobody waits for this generation any more: raised inside the engine to end it at the next step."""


class DamagedCacheError(InferenceError):
    """Files in the cache were not what was downloaded; they are gone: the start-up begins again and fetches them."""


class LoadReason(StrEnum):
    """Why a start-up stage failed; the operator turns these into conditions."""

    TOKEN_MISSING = "TokenMissing"  # noqa: S105 - a reason, no token
    TOKEN_REJECTED = "TokenRejected"  # noqa: S105 - a reason, no token
    ACCESS_DENIED = "AccessDenied"
    REPOSITORY_NOT_FOUND = "RepositoryNotFound"
    REVISION_NOT_FOUND = "RevisionNotFound"
    HUB_UNREACHABLE = "HubUnreachable"
    HUB_TIMED_OUT = "HubTimedOut"
    HUB_NAME_UNKNOWN = "HubNameUnknown"
    HUB_NOT_TRUSTED = "HubNotTrusted"
    PROXY_FAILED = "ProxyFailed"
    HUB_RATE_LIMITED = "HubRateLimited"
    HUB_FAILING = "HubFailing"
    NOT_A_HUB = "NotAHub"
    DOWNLOAD_INTERRUPTED = "DownloadInterrupted"
    NOT_A_MODEL = "NotAModel"
    NO_SAFETENSORS = "NoSafetensors"
    BROKEN_REPOSITORY = "BrokenRepository"
    UNSUPPORTED_ARCHITECTURE = "UnsupportedArchitecture"
    DISK_FULL = "DiskFull"
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory"
    LOAD_FAILED = "LoadFailed"
    GOLDEN_PROMPT_FAILED = "GoldenPromptFailed"
    PACKAGE_IMPORT_FAILED = "PackageImportFailed"
    PACKAGE_SIGNATURE_INVALID = "PackageSignatureInvalid"
    PACKAGE_SECRET_MISSING = "PackageSecretMissing"  # noqa: S105 - a reason, no secret
    PACKAGE_LOAD_FAILED = "PackageLoadFailed"


HUB_AWAY: Final = frozenset(
    {
        LoadReason.HUB_UNREACHABLE,
        LoadReason.HUB_TIMED_OUT,
        LoadReason.HUB_NAME_UNKNOWN,
        LoadReason.HUB_NOT_TRUSTED,
        LoadReason.PROXY_FAILED,
        LoadReason.HUB_RATE_LIMITED,
        LoadReason.HUB_FAILING,
        LoadReason.NOT_A_HUB,
    }
)
"""Reasons of a Hub that gives nothing to anybody: what is in the cache suffices then."""


class LoadError(InferenceError):
    """A start-up stage failed for a reason outside this process: reported, and tried again."""

    def __init__(self, reason: LoadReason, message: str, *, retry_after: float | None = None) -> None:
        """Keep the machine-readable `reason` beside the sentence that says what to do.

        `retry_after` is for how many seconds whoever was asked wants to be left alone.
        """
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


def _legible(text: str) -> str:
    """What can be written as UTF-8: half of a surrogate pair, which JSON can carry, is shown by its number."""
    return text.encode(errors="backslashreplace").decode()


class RequestError(InferenceError):
    """Base of the answers that are not a success; never raised itself."""

    status: ClassVar[int] = 500
    headers: Mapping[str, str] = MappingProxyType({})
    code: str = "internal_error"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after: float | None = None
    ) -> None:
        """Keep what the body and the headers need; `retry_after` is in seconds."""
        super().__init__(_legible(message))
        self.code = code or type(self).code
        self.param = None if param is None else _legible(param)
        self.retry_after = retry_after


class InvalidRequestError(RequestError):
    """The request cannot be answered as written."""

    status = 400
    code = "invalid_parameter"


class UnauthorizedError(RequestError):
    """Keys are configured, and the request has none."""

    status = 401
    headers = MappingProxyType({"www-authenticate": CHALLENGE})
    code = "missing_api_key"


class ForbiddenError(RequestError):
    """The request has a key, and it is a wrong one."""

    status = 403
    headers = MappingProxyType({"www-authenticate": CHALLENGE})
    code = "wrong_api_key"


class NotFoundError(RequestError):
    """There is nothing at this path, or no model of this name."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(RequestError):
    """The path exists, for other methods."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        """`allow` holds the methods that the path takes."""
        super().__init__(message)
        self.headers = {"allow": allow}


class RequestTimeoutError(RequestError):
    """The request took too long to arrive."""

    status = 408
    code = "request_timeout"


class BodyTooLargeError(RequestError):
    """The body is above the limit."""

    status = 413
    code = "body_too_large"


class UnsupportedMediaTypeError(RequestError):
    """The body is not declared as JSON."""

    status = 415
    code = "unsupported_media_type"


class QueueFullError(RequestError):
    """Too many wait already."""

    status = 429
    code = "queue_full"


class InternalError(RequestError):
    """This server's fault; the log has the traceback under the request's id."""


class NotImplementedHereError(RequestError):
    """What was asked for is known, and not done by this server."""

    status = 501
    code = "not_implemented"


class BadGatewayError(RequestError):
    """The server behind this one ended before it answered."""

    status = 502
    code = "bad_gateway"


class UnavailableError(RequestError):
    """Loading, draining, or the engine is lost: another replica, or a later time."""

    status = 503
    code = "unavailable"


class DeadlineError(RequestError):
    """The caller's own deadline passed, time in the queue counted in."""

    status = 504
    code = "deadline_exceeded"
