"""What a container said last, as sentences: out of our JSON log lines, of Python's tracebacks, of plain lines. Pure.

The kubelet keeps the end of the log, a few kilobytes, so that the first line may be the tail of one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

_TRACEBACK: Final = "Traceback (most recent call last):"
_GRAVE: Final = frozenset({"critical", "error", "fatal"})
_TAIL: Final = re.compile(r'"(?:message|msg)": ?"((?:[^"\\]|\\.)*)"')
"""The message in the tail of a line of JSON that was cut at its beginning."""


def sentences(text: str) -> tuple[str, ...]:
    """Return what each line says, without the form that it has for machines; a traceback is its last line."""
    return tuple(said for said, _ in _said(text))


def last(text: str) -> str:
    """Return the sentence that tells why: the last grave one, or else the last; empty if nothing was said."""
    rows = list(_said(text))
    grave = [said for said, is_grave in rows if is_grave]
    return grave[-1] if grave else rows[-1][0] if rows else ""


def _said(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each sentence, and whether whoever wrote it meant that something had gone wrong."""
    within = False
    for raw in text.splitlines():
        line = raw.strip()
        if line == _TRACEBACK:
            within = True
        elif not line or (within and raw[:1].isspace()):
            continue
        elif (said := _of_json(line)) is not None:
            yield said
        else:  # of a traceback it is the exception, which stands at the margin
            yield line, within
            within = False


def _of_json(line: str) -> tuple[str, bool] | None:
    try:
        row: Any = json.loads(line)
    except ValueError:
        tail = None if line.startswith("{") else _TAIL.search(line)
        return (_text(f'"{tail[1]}"'), False) if tail and line.endswith("}") else None
    if not isinstance(row, dict):
        return None
    return _of_row(cast("dict[str, Any]", row))


def _of_row(row: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Read a line of our server's log, or of another that writes `message`, `msg` or, as Rust's do, `fields`."""
    fields = row.get("fields")
    inner = cast("Mapping[str, Any]", fields) if isinstance(fields, dict) else row
    said = inner.get("message") or inner.get("msg")
    if not isinstance(said, str):
        return None
    trace = row.get("traceback")
    cause = last(trace) if isinstance(trace, str) and _TRACEBACK in trace else ""
    level = str(row.get("level", "")).lower()
    return f"{said}: {cause}" if cause and cause not in said else said, level in _GRAVE


def _text(written: str) -> str:
    try:
        return str(json.loads(written))
    except ValueError:
        return written.strip('"')
