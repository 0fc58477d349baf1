"""Start, find and stop the cluster's processes, by records that never mistake a stranger for one of ours.

A record holds the process's id, the moment it started (ticks since boot) and the boot it belongs to. The kernel gives
an id again, but not with the same start on the same boot.
"""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from devcluster import host

ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}
PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Record:
    """A process that was started.

    digest names what it was started from: program, arguments, configuration.
    """

    pid: int
    started: int
    boot: str
    digest: str


def start_ticks(stat: str) -> int | None:
    """Read the start in ticks since boot from the text of /proc/PID/stat; None for a process that has ended.

    The program's name, in parentheses, may itself hold spaces and parentheses.
    """
    fields = stat[stat.rindex(")") + 2 :].split()
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else started


def started_at(pid: int) -> int | None:
    """When pid started, in ticks since boot; None when there is no such process or it has ended."""
    try:
        return start_ticks((PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def read(file: Path) -> Record | None:
    """Read a record; None when there is none, or only the half of one."""
    try:
        return Record(**json.loads(file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_alive(record: Record) -> bool:
    """Whether the very process that was recorded still runs."""
    return record.boot == host.boot_id() and started_at(record.pid) == record.started


def spawn(argv: Sequence[str], *, file: Path, log: Path, digest: str) -> Record:
    """Start argv in a session of its own, with its output in log, and record it in file.

    What an earlier process wrote is kept as log.1.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.rename(log.with_name(log.name + ".1"))
    output = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        output,
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(argv[0], list(argv), dict(ENVIRONMENT), file_actions=actions, setsid=True)
    # A process that has ended already is a zombie until we end: its start can be read, its death is seen later.
    started = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    record = Record(pid=pid, started=started, boot=host.boot_id(), digest=digest)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record)))
    partial.rename(file)
    return record


def stop(file: Path, *, patience: float = 10.0) -> bool:
    """End the recorded process, politely for patience seconds, and forget it; returns whether it ran."""
    record = read(file)
    ran = record is not None and _end(record, patience)
    file.unlink(missing_ok=True)
    return ran


def end(pid: int, *, patience: float = 10.0) -> bool:
    """End a process of which there is no record, politely for patience seconds; returns whether it ran."""
    started = started_at(pid)
    return started is not None and _end(Record(pid, started, host.boot_id(), digest=""), patience)


def _end(record: Record, patience: float) -> bool:
    if not is_alive(record):
        return False
    _signal(record, signal.SIGTERM)
    if not _gone(record, patience):
        _signal(record, signal.SIGKILL)
        _gone(record, patience)
    return True


def _signal(record: Record, number: signal.Signals) -> None:
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        return  # It ended between the look and the signal.


def _gone(record: Record, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while is_alive(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def age_seconds(record: Record) -> float:
    """How long the recorded process has run."""
    uptime = float((PROC / "uptime").read_text().split()[0])
    return uptime - record.started / os.sysconf("SC_CLK_TCK")
