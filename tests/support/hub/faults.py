"""Faults: what goes wrong, for which repository and file, and how many times."""

import itertools
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Literal, get_args

Kind = Literal["slow", "stall", "cut", "reset", "error", "hang", "ignore_range"]
"""What happens to a matching request.

`slow`: the file comes at `bytes_per_second`. `stall`: `after` bytes of the file, then nothing, the connection stays
open. `cut`: `after` bytes, then the connection is closed. `reset`: the same, with a TCP reset. `error`: `status` and no
file, with `headers` such as Retry-After. `hang`: not even a status line. `ignore_range`: 200 and the whole file, though
a range was asked for. `error` and `hang` hit every request to the repository, the others only the body of a file.
"""
KINDS: frozenset[str] = frozenset(get_args(Kind))
BODY_KINDS = frozenset({"slow", "stall", "cut", "reset", "ignore_range"})


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault; `times` is how many requests it still hits, None for all, and `cleared` when it no longer holds."""

    kind: Kind
    repo: str = "*"
    file: str = "*"
    after: int = 0
    bytes_per_second: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict[str, str])
    times: int | None = None
    number: int = 0
    cleared: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of fault; the kinds are {', '.join(sorted(KINDS))}")
        if self.kind == "slow" and self.bytes_per_second <= 0:
            raise ValueError("a slow transfer needs bytes_per_second, above 0")

    def clear(self) -> None:
        """End the fault; transfers that it holds go on."""
        self.times = 0
        self.cleared.set()

    def describe(self) -> dict[str, Any]:
        """The fault as JSON."""
        names = ("number", "kind", "repo", "file", "after", "bytes_per_second", "status", "headers", "times")
        return {name: getattr(self, name) for name in names}


class Faults:
    """The faults in force; safe to change while requests are served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        with self._lock:
            fault.number = next(self._numbers)
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """End all faults."""
        with self._lock:
            for fault in self._faults:
                fault.clear()
            self._faults.clear()

    def in_force(self) -> list[Fault]:
        """The faults that still hit something."""
        with self._lock:
            return [fault for fault in self._faults if fault.times != 0]

    def take(self, repo: str, file: str, *, body: bool) -> list[Fault]:
        """Give the faults that hit a request, the first of each kind, and count them down.

        Args:
            repo: name of the repository asked for.
            file: name of the file, empty for an API page.
            body: whether the answer is the body of a file.
        """
        hit: dict[str, Fault] = {}
        with self._lock:
            for fault in self._faults:
                concerned = fnmatch(repo, fault.repo) and fnmatch(file, fault.file)
                effective = fault.times != 0 and (body or fault.kind not in BODY_KINDS)
                if concerned and effective and fault.kind not in hit:
                    hit[fault.kind] = fault
            for fault in hit.values():
                if fault.times is not None:
                    fault.times -= 1
        return list(hit.values())
