"""A process is told from a stranger that has its id."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from devcluster import processes
from devcluster.processes import Record


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Record]:
    """A recorded process that runs until it is stopped."""
    record = processes.spawn(
        ["/bin/sleep", "600"], file=tmp_path / "records" / "sleeper", log=tmp_path / "sleeper.log", digest="d"
    )
    yield record
    if processes.is_alive(record):
        os.kill(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)


def test_a_recorded_process_is_known_again(sleeper: Record, tmp_path: Path) -> None:
    """What the record holds is enough to find it."""
    read = processes.read(tmp_path / "records" / "sleeper")
    assert read == sleeper
    assert processes.is_alive(sleeper)


def test_a_stranger_with_the_same_id_is_not_taken_for_ours(sleeper: Record) -> None:
    """The kernel gives an id again, with a later start."""
    assert not processes.is_alive(replace(sleeper, started=sleeper.started - 1))


def test_a_record_from_before_the_machines_restart_names_nobody(sleeper: Record) -> None:
    """Ids and starts count from the boot."""
    assert not processes.is_alive(replace(sleeper, boot="another"))


def test_stopping_a_record_that_names_a_stranger_leaves_the_stranger(sleeper: Record, tmp_path: Path) -> None:
    """Only the record goes."""
    file = tmp_path / "stale"
    file.write_text(json.dumps(asdict(replace(sleeper, started=1))))
    assert not processes.stop(file)
    assert processes.is_alive(sleeper)
    assert not file.exists()


def test_stopping_ends_the_process_and_forgets_it(sleeper: Record, tmp_path: Path) -> None:
    """A second stop finds nothing."""
    file = tmp_path / "records" / "sleeper"
    assert processes.stop(file)
    assert not processes.is_alive(sleeper)
    assert not processes.stop(file)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """Patience ends."""
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        assert processes.end(stubborn.pid, patience=0.1)
        assert stubborn.wait() == -signal.SIGKILL


def test_a_zombie_does_not_run() -> None:
    """It has a line in the process table, and nothing else."""
    assert processes.start_ticks("7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0") == 4242
    assert processes.start_ticks("7 (a) b) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0") is None


@pytest.mark.parametrize("text", ["", '{"pid": 1', '{"pid": 1}', "[]"])
def test_half_a_record_is_none(tmp_path: Path, text: str) -> None:
    """A record may be cut off by a crash."""
    (tmp_path / "record").write_text(text)
    assert processes.read(tmp_path / "record") is None


def test_what_an_earlier_process_wrote_is_kept(sleeper: Record, tmp_path: Path) -> None:
    """Its end may be what one looks for."""
    log = tmp_path / "twice.log"
    for word in ("first", "second"):
        record = processes.spawn(["/bin/echo", word], file=tmp_path / "echo", log=log, digest="d")
        os.waitpid(record.pid, 0)
    assert (log.read_text(), log.with_name("twice.log.1").read_text()) == ("second\n", "first\n")
