"""Requests and replies as values, and the byte ranges of HTTP."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .errors import Refusal

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; the names of its headers are in lower case, since clients differ in how they write them."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @classmethod
    def read(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> "Request":
        """Take a request apart; `target` is the path and query of the request line."""
        split = urlsplit(target)
        return cls(method, split.path, split.query, {name.lower(): value for name, value in headers.items()}, body)

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's segments; a quoted slash within one stays in it (`refs%2Fpr%2F1`)."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))

    def asks(self, name: str) -> bool:
        """Whether the query sets a switch, as `?blobs=true` does."""
        return parse_qs(self.query).get(name, [""])[-1].lower() in {"true", "1"}


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` to `stop` (exclusive) of a file."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, headers, and a body in memory or on disk; `Content-Length` is the body's."""

    status: HTTPStatus
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | Slice = b""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stop - self.body.start


def json_reply(value: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with JSON."""
    return Reply(
        status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, json.dumps(value).encode()
    )


def refused(refusal: Refusal, *, api: bool) -> Reply:
    """Answer with a refusal: JSON on API pages, plain text for files."""
    if api:
        return json_reply({"error": refusal.message}, refusal.status, refusal.headers())
    headers = {"Content-Type": "text/plain; charset=utf-8", **refusal.headers()}
    return Reply(refusal.status, headers, refusal.message.encode())


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Give what a `Range` header asks for of a file of `size` bytes: start and stop (exclusive).

    Returns: None without a range, or with one of a form that is not known: the whole file is meant. A range outside the
    file (416) has its start at or behind its stop.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size
