"""A program of a cluster that runs on this machine for as long as tests need it."""

import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def running(command: Sequence[str], log: Path) -> Generator[None]:
    """Run a program; what it prints goes to `log`.

    Raises:
        AssertionError: it has ended by itself, with what it printed last.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink)
    try:
        yield
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait(10)
