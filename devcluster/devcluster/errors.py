"""Say what failed: the command, the last lines of its log, and what to do about it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

TAIL_LINES = 20


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last lines of text, indented for a report."""
    kept = text.rstrip().splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in kept) or "    (it printed nothing)"


class DevclusterError(Exception):
    """Something a person must act on: the message says what is wrong, hint what to do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def report(self) -> str:
        """The whole story, for a terminal."""
        return f"error: {self}\n  hint: {self.hint}"


class CommandFailedError(DevclusterError):
    """A command ended badly, or a process of the cluster did not become healthy."""

    def __init__(self, what: str, *, argv: Sequence[str], output: str, hint: str, log: Path | None = None) -> None:
        super().__init__(what, hint=hint)
        self.argv = tuple(argv)
        self.output = output
        self.log = log

    def report(self) -> str:
        """The failing command, the end of its log, the hint."""
        where = f"last lines of {self.log}" if self.log else "last lines of its output"
        return "\n".join(
            (
                f"error: {self}",
                f"  command: {shlex.join(self.argv)}",
                f"  {where}:",
                tail(self.output),
                f"  hint: {self.hint}",
            )
        )
