"""Lines of logs: what a server wrote as JSON → time, replica, level, message; and which of them are wanted. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_KNOWN: Final = frozenset({"time", "level", "logger", "message", "timestamp", "levelname", "asctime"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; `rest` are its other fields."""

    time: datetime | None
    replica: str
    level: str
    message: str
    rest: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def moment(self) -> datetime:
        """When, for sorting: what has no time comes first."""
        return self.time or datetime.min.replace(tzinfo=UTC)

    def as_json(self) -> dict[str, Any]:
        """Return it as `-o json` prints it."""
        when = self.time.isoformat() if self.time else None
        return {"time": when, "replica": self.replica, "level": self.level, "message": self.message, **self.rest}

    def text(self) -> str:
        """Return it for people."""
        when = self.time.strftime("%H:%M:%S.%f")[:-3] if self.time else "-"
        rest = " ".join(f"{name}={_short(value)}" for name, value in self.rest.items() if name != "traceback")
        trace = f"\n{self.rest['traceback']}" if self.rest.get("traceback") else ""
        return f"{when} {self.replica} {self.level:<7} {self.message}{' ' if rest else ''}{rest}{trace}"


def read(line: bytes, replica: str) -> Entry:
    """Return what a line says; the kubelet's time stands in front of it."""
    stamp, _, text = line.decode(errors="replace").partition(" ")
    time = _time(stamp)
    if time is None:
        text = line.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Entry(time, replica, _guessed(text), text)
    fields = cast("dict[str, Any]", found)
    level = str(fields.get("level") or fields.get("levelname") or "info").lower()
    rest = {name: value for name, value in fields.items() if name not in _KNOWN}
    return Entry(_time(str(fields.get("time", ""))) or time, replica, level, str(fields.get("message", "")), rest)


def _guessed(text: str) -> str:
    start = text[:40].lower()
    return next((level for level in ("error", "warning", "debug") if level in start), "info")


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _short(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines are wanted; all demands hold together."""

    min_level: str = "debug"
    includes: Sequence[str] = ()
    excludes: Sequence[str] = ()
    request_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether a line is wanted."""
        level = LEVELS.index(entry.level) if entry.level in LEVELS else 1
        text = entry.text()
        return (
            level >= LEVELS.index(self.min_level)
            and all(word in text for word in self.includes)
            and not any(word in text for word in self.excludes)
            and self.request_id in (None, entry.rest.get("request_id"))
            and (self.start is None or entry.moment >= self.start)
            and (self.end is None or entry.moment <= self.end)
        )
