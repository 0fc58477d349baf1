"""What went wrong with the Hub, as a reason and one sentence that says what to do. Never holds the token."""

import errno
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from llama_inference.errors import LoadError, LoadReason


@dataclass(frozen=True, slots=True)
class Place:
    """Where and with what the Hub was asked."""

    endpoint: str
    model: str
    revision: str
    token_path: Path | None
    had_token: bool

    @property
    def token(self) -> str:
        """How a message speaks of the token."""
        return f"the token in {self.token_path}" if self.token_path else "the Hub token"

    @property
    def page(self) -> str:
        """The model's page, where access is asked for."""
        return f"{self.endpoint}/{self.model}"


def explain(error: Exception, place: Place) -> LoadError | None:
    """Return what an error of the Hub's client, of a transfer or of the disk means; None when it is no such error."""
    if isinstance(error, HfHubHTTPError):
        return _http(error, place)
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, OfflineModeIsEnabled)):
        return _unreachable(place, type(error).__name__, str(error))
    if isinstance(error, httpx2.TransportError):
        silence = "fell silent" if isinstance(error, httpx2.TimeoutException) else "was cut off"
        message = f"the transfer from {place.endpoint} {silence} ({type(error).__name__}): it goes on where it stopped"
        return LoadError(LoadReason.DOWNLOAD_INTERRUPTED, message)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        message = "the cache's volume is full: enlarge it, or remove models that are not used"
        return LoadError(LoadReason.DISK_FULL, message)
    if isinstance(error, OSError):
        detail = error.strerror or type(error).__name__
        message = f"cannot read or write the cache ({detail}): check its volume and the permissions on it"
        return LoadError(LoadReason.LOAD_FAILED, message)
    return None


def _unreachable(place: Place, kind: str, detail: str) -> LoadError:
    message = (
        f"cannot reach the Hub at {place.endpoint} ({kind}{': ' if detail else ''}{detail}): check the endpoint, DNS, "
        "proxies and network policies"
    )
    return LoadError(LoadReason.HUB_UNREACHABLE, message)


def _http(error: HfHubHTTPError, place: Place) -> LoadError:
    if isinstance(error, RevisionNotFoundError):
        message = f"{place.model} at {place.endpoint} has no revision {place.revision}: correct spec.model.revision"
        return LoadError(LoadReason.REVISION_NOT_FOUND, message)
    if isinstance(error, DisabledRepoError):
        message = f"{place.model} was disabled at {place.endpoint}: choose another model"
        return LoadError(LoadReason.ACCESS_DENIED, message)
    if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
        return _not_found(place)
    return _status(error.response.status_code, place)


def _status(status: int, place: Place) -> LoadError:
    if status in (401, 403) and not place.had_token:
        return _missing(place)
    if status == 401:
        return _rejected(place)
    if status == 403:
        return _denied(place)
    if status == 404:
        message = f"{place.endpoint} has no file of {place.model} that its list names: choose another revision"
        return LoadError(LoadReason.REVISION_NOT_FOUND, message)
    return _unreachable(place, f"HTTP {status}", "too many requests" if status == 429 else "")


def _missing(place: Place) -> LoadError:
    where = f"there is none in {place.token_path}" if place.token_path else "none is configured"
    message = (
        f"{place.model} is gated or private at {place.endpoint}, which wants a token, and {where}: put the token of an "
        "account with access into the Secret that is mounted there"
    )
    return LoadError(LoadReason.TOKEN_MISSING, message)


def _rejected(place: Place) -> LoadError:
    message = f"the Hub at {place.endpoint} does not accept {place.token}: correct the Secret that is mounted there"
    return LoadError(LoadReason.TOKEN_REJECTED, message)


def _denied(place: Place) -> LoadError:
    message = (
        f"the account of {place.token} has no access to {place.model}: accept the licence at {place.page} with that "
        "account and wait for the grant, or use the token of an account that has it, with read permission"
    )
    return LoadError(LoadReason.ACCESS_DENIED, message)


def _not_found(place: Place) -> LoadError:
    access = (
        f", or {place.token} has no access to it" if place.had_token else ", or it is private and no token was given"
    )
    message = (
        f"there is no model {place.model} at {place.endpoint}{access}: correct spec.model.repo or the token's Secret"
    )
    return LoadError(LoadReason.REPOSITORY_NOT_FOUND, message)
