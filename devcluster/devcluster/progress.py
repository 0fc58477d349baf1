"""Show each step with the seconds it took, on standard error."""

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

TERMINAL_EVERY_S: Final = 1.0
LOG_EVERY_S: Final = 60.0


@dataclass(slots=True)
class Step:
    """One step under way; its note is printed when it ends."""

    name: str
    note: str = ""

    def cached(self) -> None:
        """Say that there was nothing to do."""
        self.note = "cached"


@contextmanager
def step(name: str) -> Generator[Step]:
    """Time what happens inside, and print one line when it is over.

    While it runs, a terminal shows the seconds, and a log gets a line each minute.
    """
    current = Step(name)
    started = time.monotonic()
    over = threading.Event()
    ticker = threading.Thread(target=_tick, args=(name, started, over), daemon=True)
    ticker.start()
    try:
        yield current
    except BaseException:
        current.note = "FAILED"
        raise
    finally:
        over.set()
        ticker.join()
        _write(f"{_clear()}{_line(name, started)}  {current.note}".rstrip() + "\n")


def _clear() -> str:
    """Wipe what the ticking left on a terminal's line."""
    return "\r\x1b[K" if sys.stderr.isatty() else ""


def _tick(name: str, started: float, over: threading.Event) -> None:
    terminal = sys.stderr.isatty()
    if terminal:
        _write(f"{name} ...\r")
    while not over.wait(TERMINAL_EVERY_S if terminal else LOG_EVERY_S):
        _write(_line(name, started) + (" ...\r" if terminal else "  ...\n"))


def _line(name: str, started: float) -> str:
    return f"{name:<28} {time.monotonic() - started:7.1f} s"


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
