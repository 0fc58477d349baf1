"""What the disk and the network say, as a reason and what to do."""

import errno
import socket
import ssl
from dataclasses import replace

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError

from llama_inference.engine.hub_errors import MOST_PATIENCE_S, Place, explain
from llama_inference.errors import LoadReason

PLACE = Place("http://hub", "a/b", "main", token_path=None, had_token=False)


def caused_by(cause: Exception) -> httpx2.ConnectError:
    """An error of a connection as the HTTP library raises it: from the system's own."""
    error = httpx2.ConnectError(str(cause))
    error.__cause__ = cause
    return error


def answered(status: int, **headers: str) -> HfHubHTTPError:
    """What the Hub's client raises for a status."""
    request = httpx2.Request("GET", "http://hub/api/models/a/b")
    return HfHubHTTPError("no", response=httpx2.Response(status, headers=headers, request=request))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), LoadReason.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), LoadReason.DISK_FULL),
        (OSError(errno.EROFS, "Read-only file system"), LoadReason.LOAD_FAILED),
        (PermissionError(errno.EACCES, "Permission denied"), LoadReason.LOAD_FAILED),
        (httpx2.ConnectError("refused"), LoadReason.HUB_UNREACHABLE),
        (httpx2.ConnectTimeout("slow"), LoadReason.HUB_TIMED_OUT),
        (httpx2.ProxyError("no"), LoadReason.PROXY_FAILED),
        (caused_by(socket.gaierror(-2, "Name or service not known")), LoadReason.HUB_NAME_UNKNOWN),
        (caused_by(ssl.SSLCertVerificationError("self-signed certificate")), LoadReason.HUB_NOT_TRUSTED),
        (caused_by(httpx2.ReadTimeout("slow")), LoadReason.HUB_TIMED_OUT),
        (caused_by(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), LoadReason.HUB_UNREACHABLE),
        (answered(429), LoadReason.HUB_RATE_LIMITED),
        (answered(502), LoadReason.HUB_FAILING),
        (answered(400), LoadReason.NOT_A_HUB),
        (httpx2.ReadTimeout("slow"), LoadReason.DOWNLOAD_INTERRUPTED),
        (httpx2.ReadError("reset"), LoadReason.DOWNLOAD_INTERRUPTED),
        (httpx2.RemoteProtocolError("cut"), LoadReason.DOWNLOAD_INTERRUPTED),
    ],
)
def test_a_fault_of_disk_or_network_has_its_reason(error: Exception, reason: LoadReason) -> None:
    """And is tried again, not the end of the process."""
    explained = explain(error, PLACE)
    assert explained is not None
    assert explained.reason is reason


def test_a_bug_is_not_explained_away() -> None:
    """What is no fault of disk or network stays what it is."""
    assert explain(KeyError("x"), PLACE) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "55"}, 55.0),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"Retry-After": "86400"}, MOST_PATIENCE_S),
        ({"RateLimit": '"api";r=7;t=55'}, None),
        ({}, None),
    ],
)
def test_a_limit_of_requests_says_when_it_is_tried_again(headers: dict[str, str], seconds: float | None) -> None:
    """And that a token raises it, to who has none."""
    explained = explain(answered(429, **headers), PLACE)
    assert explained is not None
    assert explained.retry_after == seconds
    assert ("left alone for" in str(explained)) is (seconds is not None)
    assert str(explained).endswith("it is tried again by itself; a token raises the limit")
    given = explain(answered(429, **headers), replace(PLACE, had_token=True))
    assert str(given).endswith("the limit is that of its token")


def test_each_way_of_being_away_has_its_own_fix() -> None:
    """One for all would send people to look in the wrong place."""
    errors = [
        caused_by(socket.gaierror(-2, "unknown")), caused_by(ssl.SSLError("no")), httpx2.ProxyError("no"),
        httpx2.ConnectTimeout("slow"), httpx2.ConnectError("refused"), answered(429), answered(500), answered(400),
    ]  # fmt: skip
    fixes = {str(explain(error, PLACE)).partition(": ")[2] for error in errors}
    assert len(fixes) == len(errors)
