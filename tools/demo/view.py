"""The live view of a LlamaDeployment: what its status says that it did not say before. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

WAITING: Final = "Waiting"
REPEATS: Final = frozenset({"Progressing", "Degraded"})
"""Conditions that only say again what the others say."""
BAR: Final = 24


class View:
    """Remembers what has been shown of one LlamaDeployment."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, str]] = {}

    def news(self, status: Mapping[str, Any]) -> Iterator[str]:
        """Yield a line for each condition whose answer or reason is another one than before."""
        for row in status.get("conditions", ()):
            answer = (row["status"], row["reason"])
            if row["type"] in REPEATS or row["reason"] == WAITING or self._shown.get(row["type"]) == answer:
                continue
            self._shown[row["type"]] = answer
            yield f"{'✓' if row['status'] == 'True' else '·'} {row['type']:<16} {row['message']}"


def progress(status: Mapping[str, Any]) -> str:
    """Return one line on the stage under way; empty when there is none."""
    startup: Mapping[str, Any] = status.get("startup") or {}
    stage = next((row for row in startup.get("stages", ()) if row["name"] == startup.get("stage")), None)
    if stage is None:
        return ""
    done, total = stage.get("bytesDone"), stage.get("bytesTotal")
    parts = [stage["name"]]
    if total and done is not None:
        filled = BAR * done // total
        parts += [f"[{'#' * filled}{'.' * (BAR - filled)}]", f"{size(done)} of {size(total)}"]
    if rate := stage.get("bytesPerSecond"):
        parts.append(f"{size(rate)}/s")
    if eta := startup.get("eta"):
        parts.append(f"{eta} left")
    return "  ".join(parts)


def stages(status: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the name and the seconds of each stage of the start-up that is over."""
    rows = (status.get("startup") or {}).get("stages", ())
    return [(row["name"], row["seconds"]) for row in rows if row.get("seconds") is not None]


def is_available(status: Mapping[str, Any]) -> bool:
    """Whether predict requests are answered."""
    return any(row["type"] == "Available" and row["status"] == "True" for row in status.get("conditions", ()))


def size(count: float) -> str:
    """Write bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
