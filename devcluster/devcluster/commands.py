"""Run a command to its end, and turn a failure into a report."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from devcluster.errors import CommandFailedError, DevclusterError


def run(
    argv: Sequence[str],
    *,
    hint: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> str:
    """Run argv and return its standard output.

    Args:
        argv: Program and arguments; no shell is involved.
        hint: What to do when it fails, for the person who reads the report.
        env: Variables on top of the present environment.
        cwd: Folder to run in.
        stdin: Bytes to feed.

    Raises:
        CommandFailedError: It ended with another status than 0.
        DevclusterError: There is no such program.
    """
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, cwd=cwd, env={**os.environ, **(env or {})}, check=False
        )
    except FileNotFoundError as error:
        raise DevclusterError(f"{argv[0]} is not installed", hint=hint) from error
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode(errors="replace")
        what = f"{Path(argv[0]).name} ended with status {done.returncode}"
        raise CommandFailedError(what, argv=argv, output=output, hint=hint)
    return done.stdout.decode(errors="replace")


def run_fed(argv: Sequence[str], feed: Callable[[BinaryIO], None], *, hint: str) -> str:
    """Run argv while feed writes what it reads, without holding all of it in memory; returns its standard output.

    Raises:
        CommandFailedError: It ended with another status than 0.
        DevclusterError: There is no such program.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(list(argv), stdin=subprocess.PIPE, stdout=output, stderr=errors)
        except FileNotFoundError as error:
            raise DevclusterError(f"{argv[0]} is not installed", hint=hint) from error
        # It may end before it has read everything: its status and its words then tell why.
        with contextlib.suppress(BrokenPipeError), process, cast("BinaryIO", process.stdin) as sink:
            feed(sink)
        said = [_rewound(stream).decode(errors="replace") for stream in (output, errors)]
    if process.returncode != 0:
        what = f"{Path(argv[0]).name} ended with status {process.returncode}"
        raise CommandFailedError(what, argv=argv, output="".join(said), hint=hint)
    return said[0]


def _rewound(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return stream.read()


def run_logged(
    argv: Sequence[str], *, log: Path, hint: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a long command with its output in a file, so that it can be followed while it runs.

    Raises:
        CommandFailedError: It ended with another status than 0.
        DevclusterError: There is no such program.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                check=False,
            )
        except FileNotFoundError as error:
            raise DevclusterError(f"{argv[0]} is not installed", hint=hint) from error
    if done.returncode != 0:
        what = f"{Path(argv[0]).name} ended with status {done.returncode}"
        raise CommandFailedError(what, argv=argv, output=log.read_text(errors="replace"), hint=hint, log=log)
