"""Why a Hub gives no facts: its statuses, and errors on the way to it, each told apart by what has to be done. Pure."""

import errno
import math
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Literal

import aiohttp

from llama_operator.plan.survey import HubRefusal, RefusalReason

Page = Literal["listing", "file"]
"""The listing is a page of the API; all else are files of the repository."""

MOST_PATIENCE_SECONDS: Final = 3600.0
"""A Hub that wants to be left alone for longer is asked again all the same."""
_LIMIT: Final = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,9})")
_FROM_PROXIES: Final = frozenset({HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
_ROUTELESS: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH})

_BY_CODE: Final[Mapping[str | None, HubRefusal]] = {
    "RepoNotFound": HubRefusal(reason="RepositoryNotFound", words="no such repository"),
    "RevisionNotFound": HubRefusal(reason="RevisionNotFound", words="no such revision"),
}


def of_status(status: int, headers: Mapping[str, str], *, page: Page, file: str, token_given: bool) -> HubRefusal:
    """Return what an answer other than 200 means, asked for the listing or for a `file`.

    The API pages of a gated repository are public and look at the token first; its files are not, and look at the gate
    first. So a wrong token is known from the listing, and a missing grant from a file.
    """
    code = headers.get("X-Error-Code")
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code == "EntryNotFound" or (status == HTTPStatus.NOT_FOUND and page == "file"):
        return HubRefusal(reason="UnsupportedArchitecture", words=f"it has no {file}")
    if code == "GatedRepo" or status == HTTPStatus.FORBIDDEN:
        return _gated(status, token_given=token_given)
    if status == HTTPStatus.UNAUTHORIZED:
        # A repository that does not exist looks the same without a token, so that private ones stay hidden.
        hidden = page == "listing" and not token_given
        return _BY_CODE["RepoNotFound"] if hidden else _gated(status, token_given=token_given)
    if status == HTTPStatus.NOT_FOUND and "json" in headers.get("Content-Type", ""):
        return _BY_CODE["RepoNotFound"]
    return _of_service(status, headers)


def _gated(status: int, *, token_given: bool) -> HubRefusal:
    if not token_given:
        return HubRefusal(reason="TokenMissing", words="its files are for accounts that were let in")
    if status == HTTPStatus.UNAUTHORIZED:
        return HubRefusal(reason="TokenRejected", words="the token is not valid")
    return HubRefusal(reason="AccessDenied", words="the account was not let in")


def _of_service(status: int, headers: Mapping[str, str]) -> HubRefusal:
    words = f"it answers with status {status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        seconds = patience(headers)
        wait = "" if seconds is None else f" and wants to be left alone for {math.ceil(seconds)} seconds"
        return HubRefusal(reason="HubRateLimited", words=f"{words}{wait}", retry_after=seconds)
    if status in _FROM_PROXIES:
        return HubRefusal(reason="ProxyFailed", words=f"it answers with status {status}, and wants to know who asks")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return HubRefusal(reason="HubFailing", words=words, retry_after=patience(headers))
    return HubRefusal(reason="NotAHub", words=f"{words}, as no Hub does")


def patience(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds a Hub wants to be left alone; None where it does not say.

    `Retry-After` is a number or a date (RFC 9110); huggingface.co says it in `RateLimit`, as `"api";r=0;t=55`.
    """
    written = headers.get("Retry-After", "").strip()
    if written.isdecimal():
        return min(MOST_PATIENCE_SECONDS, float(written))
    if written:
        try:
            until = parsedate_to_datetime(written).astimezone(UTC)
        except ValueError:
            return None
        return min(MOST_PATIENCE_SECONDS, max(0.0, (until - datetime.now(UTC)).total_seconds()))
    found = _LIMIT.search(headers.get("RateLimit", ""))
    return min(MOST_PATIENCE_SECONDS, float(found[1])) if found else None


def of_error(error: Exception, seconds: float | None) -> HubRefusal:
    """Return what an error on the way means; of its words only those that can repeat no URL and no header.

    Args:
        error: what the HTTP library raised, or a ValueError of whoever read the answer.
        seconds: how long a whole answer may take.
    """
    if isinstance(error, TimeoutError) and seconds:
        return HubRefusal(reason="HubTimedOut", words=f"no answer in {seconds:g} seconds")
    for kinds, reason, words in _ERRORS:
        if isinstance(error, kinds):
            return HubRefusal(reason=reason, words=words or _detail(error))
    return HubRefusal(reason="HubUnreachable", words="the connection breaks off")


_ERRORS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], RefusalReason, str], ...]] = (
    (aiohttp.TooManyRedirects, "NotAHub", "it sends us round in circles"),
    (aiohttp.ClientHttpProxyError, "ProxyFailed", ""),
    (aiohttp.ClientProxyConnectionError, "ProxyFailed", ""),
    (aiohttp.ClientConnectorDNSError, "HubNameUnknown", "no such name"),
    (aiohttp.ClientConnectorCertificateError, "HubNotTrusted", ""),
    (aiohttp.ClientSSLError, "HubNotTrusted", "it does not speak TLS; where it need not, write http:// for https://"),
    (aiohttp.ClientConnectorError, "HubUnreachable", ""),
    (TimeoutError, "HubTimedOut", "no answer in time"),
    ((aiohttp.ClientResponseError, ValueError), "NotAHub", "its answer is not a Hub's"),
)
"""Errors of aiohttp, each before those that it is one of; the reason; the words, empty where `_detail` has them."""


def _detail(error: Exception) -> str:
    match error:
        case aiohttp.ClientHttpProxyError(status=status):
            return f"it answers with status {status}"
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause):
            return _of_certificate(cause)
        case aiohttp.ClientConnectorError(os_error=cause):
            return _of_connection(cause)
        case _:
            return "no connection"


def _of_connection(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "the connection is refused"
    return "there is no way to it" if error.errno in _ROUTELESS else "no connection"


def _of_certificate(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return "its certificate is refused"
