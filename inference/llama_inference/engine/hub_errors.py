"""What went wrong with the Hub, as a reason and one sentence that says what to do. Never holds the token."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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

MOST_PATIENCE_S: Final = 3600.0  # a Hub that wants to be left alone for longer is asked again all the same
_LIMIT: Final = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,9})")


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
        return _unreachable(error, place)
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


def _unreachable(error: Exception, place: Place) -> LoadError:
    """Tell apart why there is no connection, by what the library's own error came from."""
    for cause in _causes(error):
        for kinds, reason, words, fix in _AWAY:
            if isinstance(cause, kinds):
                return LoadError(reason, f"{words.format(place.endpoint)}: {fix}")
    detail = str(error) or type(error).__name__
    message = f"the Hub at {place.endpoint} does not answer ({detail}): let the cluster reach it, or {_ELSEWHERE}"
    return LoadError(LoadReason.HUB_UNREACHABLE, message)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield what an error came from, the first cause first."""
    if error is not None:
        yield from _causes(error.__cause__ or error.__context__)
        yield error


_ELSEWHERE: Final = "correct or name a mirror in spec.model.endpoint"
_AWAY: Final = (
    (
        httpx2.ProxyError,
        LoadReason.PROXY_FAILED,
        "the proxy on the way to the Hub at {} does not let through",
        "correct HTTPS_PROXY, or except the Hub in NO_PROXY, in spec.podTemplate",
    ),
    (
        socket.gaierror,
        LoadReason.HUB_NAME_UNKNOWN,
        "the name of the Hub at {} is not known to the cluster's DNS",
        f"let it resolve names outside, or {_ELSEWHERE}",
    ),
    (
        ssl.SSLError,
        LoadReason.HUB_NOT_TRUSTED,
        "the Hub at {} is not trusted, or speaks no TLS",
        f"give pods the authority of its certificate in SSL_CERT_FILE (spec.podTemplate), or {_ELSEWHERE}",
    ),
    (
        (TimeoutError, httpx2.TimeoutException),
        LoadReason.HUB_TIMED_OUT,
        "the Hub at {} is silent, as where a firewall or a network policy drops what is sent",
        f"let the cluster reach it, name a proxy in HTTPS_PROXY, or {_ELSEWHERE}",
    ),
)
"""What there is no connection for: the kind of error, the reason, the sentence about the endpoint, the fix."""


def patience(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds a Hub wants to be left alone; None where it does not say.

    `Retry-After` is a number or, rarely, a date, which is not read; huggingface.co says it in `RateLimit`.
    """
    written = headers.get("Retry-After", "").strip()
    found = _LIMIT.search(headers.get("RateLimit", ""))
    seconds = written if written.isdecimal() else found[1] if found else None
    return None if seconds is None else min(MOST_PATIENCE_S, float(seconds))


def _http(error: HfHubHTTPError, place: Place) -> LoadError:
    if isinstance(error, RevisionNotFoundError):
        message = f"{place.model} at {place.endpoint} has no revision {place.revision}: correct spec.model.revision"
        return LoadError(LoadReason.REVISION_NOT_FOUND, message)
    if isinstance(error, DisabledRepoError):
        message = f"{place.model} was disabled at {place.endpoint}: choose another model"
        return LoadError(LoadReason.ACCESS_DENIED, message)
    if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
        return _not_found(place)
    return _status(error.response, place)


def _status(response: httpx2.Response, place: Place) -> LoadError:
    status = response.status_code
    if status in (401, 403) and not place.had_token:
        return _missing(place)
    if status == 401:
        return _rejected(place)
    if status == 403:
        return _denied(place)
    if status == 404:
        message = f"{place.endpoint} has no file of {place.model} that its list names: choose another revision"
        return LoadError(LoadReason.REVISION_NOT_FOUND, message)
    return _service(response, place)


def _service(response: httpx2.Response, place: Place) -> LoadError:
    status, seconds = response.status_code, patience(response.headers)
    if status == 429:
        wait = "" if seconds is None else f", and wants to be left alone for {seconds:g} seconds"
        more = "the limit is that of its token" if place.had_token else "a token raises the limit"
        message = (
            f"the Hub at {place.endpoint} limits how often it is asked (status 429){wait}: it is tried again by "
            f"itself; {more}"
        )
        return LoadError(LoadReason.HUB_RATE_LIMITED, message, retry_after=seconds)
    if status >= 500:
        message = (
            f"the Hub at {place.endpoint} has trouble of its own (status {status}): it is tried again by itself; if "
            f"it lasts, {_ELSEWHERE}"
        )
        return LoadError(LoadReason.HUB_FAILING, message, retry_after=seconds)
    message = f"what answers at {place.endpoint} is no Hub (status {status}): {_ELSEWHERE}"
    return LoadError(LoadReason.NOT_A_HUB, message)


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
