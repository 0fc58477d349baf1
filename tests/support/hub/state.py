"""The Hub in memory: repositories, accounts, faults, the journal; and the verbs that tests use on them."""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, Unpack

from .accounts import Tokens
from .faults import Fault, Faults, Kind
from .journal import Journal, Record
from .repos import Entry, Gate, Other, Repo


class FaultOptions(TypedDict, total=False):
    """Options of a fault; their meaning stands at `faults.Kind` and `faults.Fault`."""

    repo: str
    file: str
    after: int
    bytes_per_second: int
    status: int
    headers: dict[str, str]
    times: int | None


class Hub:
    """What the server serves, and how it is told to.

    Args:
        models_dir: folder that relative paths of repositories start from.
        cdn_url: where LFS files are redirected to, as huggingface.co does; empty to serve all files directly.
    """

    def __init__(self, models_dir: Path | None = None, *, cdn_url: str = "") -> None:
        self.models_dir = (models_dir or Path()).resolve()
        self.cdn_url = cdn_url
        self.tokens = Tokens()
        self.faults = Faults()
        self.journal = Journal()
        self.repos: dict[str, Repo] = {}
        self.others: dict[str, Other] = {}
        self._tickets: dict[str, tuple[str, Entry]] = {}
        self._lock = threading.Lock()

    def add_repo(
        self,
        name: str,
        path: Path | str,
        *,
        revision: str = "main",
        gated: Gate = False,
        private: bool = False,
        licence: str | None = None,
    ) -> str:
        """Serve a folder as a repository; called again, it changes all but the name and adds or moves the revision.

        Returns: the commit that `revision` now points at.
        """
        with self._lock:
            repo = self.repos.setdefault(name, Repo(name))
            repo.gated, repo.private, repo.licence = gated, private, licence
            return repo.add_revision(revision, self.models_dir / path)

    def add_other(self, kind: Other, name: str) -> None:
        """Let a name be that of a public dataset or space, of which there is nothing but its page in the API."""
        self.others[name] = kind

    def add_revision(self, name: str, revision: str, path: Path | str) -> str:
        """Add or move a branch of a repository that exists; give its commit."""
        with self._lock:
            return self.repos[name].add_revision(revision, self.models_dir / path)

    def remove_repo(self, name: str) -> None:
        """Forget a repository, as if its owner had deleted it."""
        with self._lock:
            self.repos.pop(name, None)

    def fault(self, kind: Kind, **options: Unpack[FaultOptions]) -> Fault:
        """Put a fault in force until it is cleared, or for as many requests as `times` says."""
        return self.faults.add(Fault(kind=kind, **options))

    def clear_faults(self) -> None:
        """End all faults; transfers that they hold go on."""
        self.faults.clear()

    @property
    def requests(self) -> list[Record]:
        """All requests so far, control requests left out."""
        return self.journal.records()

    def wait_for(self, condition: Callable[[list[Record]], object], timeout_s: float = 10.0) -> list[Record]:
        """Wait until the requests satisfy a condition; TimeoutError tells what was seen instead."""
        return self.journal.wait_for(condition, timeout_s)

    def ticket(self, repo: str, entry: Entry) -> str:
        """Give a key that downloads one file from the CDN without a token, as a signed URL does."""
        key = secrets.token_urlsafe(16)
        self._tickets[key] = (repo, entry)
        return key

    def redeem(self, key: str) -> tuple[str, Entry] | None:
        """Give the repository and file of a key, None for an unknown one."""
        return self._tickets.get(key)
