"""Steer a Hub that runs elsewhere, over its control pages, with the words of `Hub`."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Unpack

from .faults import Kind
from .journal import Record
from .state import FaultOptions


class RemoteHub:
    """The control side of a Hub; `url` is where it is reached from here.

    Raises (all methods): OSError when it is not reached; ValueError with its words when it refuses.
    """

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s

    def add_repo(self, name: str, path: str, **options: Any) -> str:
        """Serve a folder of the remote Hub's machine; see `Hub.add_repo`. Gives the commit."""
        answer = self._call("POST", "config", {"repos": [{"name": name, "path": path, **options}]})
        return next(iter(answer["commits"].values()))

    def add_token(self, token: str, *, account: str, grants: list[str] | None = None) -> None:
        """Make a token valid; an account that is known keeps its grants and gets these as well."""
        self._call("POST", "config", {"tokens": [{"token": token, "account": account, "grants": grants or []}]})

    def revoke(self, token: str) -> None:
        """Make a token invalid."""
        self._call("DELETE", "tokens", {"token": token})

    def withdraw(self, account: str, repo: str) -> None:
        """Take an account's access to a repository back."""
        self._call("DELETE", "grants", {"account": account, "repo": repo})

    def fault(self, kind: Kind, **options: Unpack[FaultOptions]) -> None:
        """Put a fault in force; see `Hub.fault`."""
        self._call("POST", "faults", {"kind": kind, **options})

    def clear_faults(self) -> None:
        """End all faults."""
        self._call("DELETE", "faults")

    @property
    def requests(self) -> list[Record]:
        """All requests so far."""
        return [Record(**record) for record in self._call("GET", "requests")]

    def forget_requests(self) -> None:
        """Empty the journal."""
        self._call("DELETE", "requests")

    def wait_for(self, condition: Callable[[list[Record]], object], timeout_s: float = 30.0) -> list[Record]:
        """Wait until the requests satisfy a condition; TimeoutError tells what was seen instead."""
        end = time.monotonic() + timeout_s
        while not condition(seen := self.requests):
            if time.monotonic() > end:
                raise TimeoutError(f"after {timeout_s:g} s the Hub has seen only {seen}")
            time.sleep(0.2)
        return seen

    def _call(self, method: str, page: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.url}/_control/{page}", data, method=method)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310 - our own server
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["error"]) from error
