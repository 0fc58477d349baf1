"""Ask a process whether it is healthy."""

import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from devcluster.layout import Layout

TIMEOUT = 3.0

# Raises ProbeError, with what was answered, while the process is not healthy.
Probe = Callable[[], None]


class ProbeError(Exception):
    """Not healthy, for the reason in the message."""


def running() -> None:
    """Healthy as long as the process lives: it has no endpoint to ask."""


# The machine's proxy settings are not for the cluster's own addresses.
_DIRECT = urllib.request.ProxyHandler({})


def http(url: str) -> Probe:
    """Healthy when url answers 200."""
    opener = urllib.request.build_opener(_DIRECT)
    return lambda: _get(opener, url)


def https(layout: Layout, port: int, path: str) -> Probe:
    """Healthy when path on a loopback port of the control plane answers the administrator 200."""

    def probe() -> None:
        opener = urllib.request.build_opener(_DIRECT, urllib.request.HTTPSHandler(context=tls(layout)))
        _get(opener, f"https://127.0.0.1:{port}{path}")

    return probe


def tls(layout: Layout) -> ssl.SSLContext:
    """Trust the cluster's authority only, and show the administrator's certificate."""
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    return context


def socket_answers(path: Path) -> Probe:
    """Healthy when something listens on the socket at path."""

    def probe() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(TIMEOUT)
            try:
                client.connect(str(path))
            except OSError as error:
                raise ProbeError(f"{path}: {error.strerror}") from error

    return probe


def _get(opener: urllib.request.OpenerDirector, url: str) -> None:
    try:
        with opener.open(url, timeout=TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        with error:
            raise ProbeError(f"{url} answers {error.code}") from error
    except (OSError, HTTPException) as error:
        raise ProbeError(f"{url}: {error}") from error
