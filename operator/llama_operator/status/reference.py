"""docs/conditions.md: every reason, out of the table."""

from collections.abc import Iterator

from llama_operator.status.reasons import REASONS


def markdown() -> str:
    """Return docs/conditions.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield from (
        "# Conditions",
        "",
        "Generated from `status/reasons.py`. `kubectl describe llama NAME` shows each condition, with a message that",
        "names the object, the value and the fix. Start at `Available`: while it is False it repeats what is wrong.",
        "`Degraded` is True with that same reason whenever anything is wrong, also while older pods still serve.",
        "",
        "| reason | condition | meaning | usual cause | fix |",
        "|---|---|---|---|---|",
    )
    for reason, entry in REASONS.items():
        yield f"| `{reason}` | {', '.join(entry.conditions)} | {entry.meaning} | {entry.cause} | {entry.fix} |"
    yield ""
