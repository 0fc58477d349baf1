"""The way of a deployment from its spec to its first answer: lines, one a change, or rows for a live view. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubectl_llama.view.text import duration, size

Object = Mapping[str, Any]
_REPEATS: Final = frozenset({"Progressing", "Degraded", "Available"})
"""Conditions that say again what the others say."""
MARKS: Final[Mapping[str, str]] = {"done": "✓", "running": "▸", "failed": "✗", "pending": "·"}


@dataclass(frozen=True, slots=True)
class Row:
    """A stage: how it stands, what to say of it, and how much of it is done where that is known (0 to 1)."""

    name: str
    state: str
    words: str
    share: float | None = None


def rows(status: Object) -> list[Row]:
    """Return the stages in order."""
    return [_row(stage) for stage in (status.get("startup") or {}).get("stages") or ()]


def _row(stage: Object) -> Row:
    done, total = stage.get("bytesDone"), stage.get("bytesTotal")
    words: list[str] = []
    if stage.get("seconds") is not None:
        words.append(f"{stage['seconds']:.1f}s")
    if total:
        words.append(size(total) if stage["state"] == "done" else f"{size(done or 0)} of {size(total)}")
    if stage.get("bytesPerSecond"):
        words.append(f"{size(stage['bytesPerSecond'])}/s")
    if stage.get("etaSeconds"):
        words.append(f"{duration(stage['etaSeconds'])} left")
    share = (done or 0) / total if total and stage["state"] == "running" else None
    return Row(stage["name"], stage["state"], ", ".join(words), share)


def problem(status: Object) -> str:
    """Return the sentence of the first condition that does not hold and says why; empty if there is none."""
    for row in status.get("conditions") or ():
        if row["status"] == "False" and row["reason"] != "Waiting" and row["type"] not in _REPEATS:
            return f"{row['reason']}: {row['message']}"
    return ""


class News:
    """Remembers what has been said of a deployment, and yields what is new."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def of(self, status: Object) -> Iterator[str]:
        """Yield a line for each stage that has begun or is over, and for each new problem."""
        for row in rows(status):
            if row.state in ("pending", self._said.get(row.name)):
                continue
            self._said[row.name] = row.state
            yield f"{MARKS.get(row.state, '·')} {row.name:<10} {row.words}".rstrip()
        said = problem(status)
        if said and self._said.get("") != said.partition(":")[0]:
            self._said[""] = said.partition(":")[0]
            yield f"· {said}"


def seconds(status: Object) -> dict[str, float]:
    """Return how long each stage took that is over."""
    stages = (status.get("startup") or {}).get("stages") or ()
    return {stage["name"]: stage["seconds"] for stage in stages if stage.get("seconds") is not None}
