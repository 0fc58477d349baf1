"""A step that fails says which command, the end of its log, and what to do."""

from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner

from devcluster import cli, cluster
from devcluster.commands import run, run_fed, run_logged
from devcluster.errors import CommandFailedError, DevclusterError
from devcluster.progress import step

SCRIPT = "for i in $(seq 100); do echo line $i; done; echo 'the reason' >&2; exit 3"


def test_a_failed_command_is_reported_with_its_last_lines() -> None:
    """Those at the beginning are left out."""
    with pytest.raises(CommandFailedError) as caught:
        run(["/bin/sh", "-c", SCRIPT], hint="do this")
    report = caught.value.report()
    assert "sh ended with status 3" in report
    assert f"command: /bin/sh -c '{SCRIPT[:10]}" in report
    assert "    line 100\n    the reason\n" in report
    assert "line 50\n" not in report
    assert report.endswith("hint: do this")


def test_a_long_commands_log_is_named(tmp_path: Path) -> None:
    """It holds all of the output."""
    log = tmp_path / "logs" / "build.log"
    with pytest.raises(CommandFailedError) as caught:
        run_logged(["/bin/sh", "-c", SCRIPT], log=log, hint="do this")
    assert f"last lines of {log}:" in caught.value.report()
    assert len(log.read_text().splitlines()) == 101


def test_a_program_that_is_not_there_is_named() -> None:
    """With the hint of the step."""
    with pytest.raises(DevclusterError, match="no-such-program is not installed"):
        run(["no-such-program"], hint="install it")


def test_a_reader_that_ends_early_is_reported_by_its_own_words() -> None:
    """The broken pipe is only how that showed."""

    def feed(sink: BinaryIO) -> None:
        sink.writelines(b"x" * 100_000 for _ in range(100))

    with pytest.raises(CommandFailedError, match="status 4") as caught:
        run_fed(["/bin/sh", "-c", "echo 'disk full' >&2; exit 4"], feed, hint="make room")
    assert "disk full" in caught.value.report()


def test_what_is_fed_arrives_and_what_is_printed_returns() -> None:
    """All of it, through a pipe."""

    def feed(sink: BinaryIO) -> None:
        sink.write(b"x" * 1_000_000)

    assert run_fed(["/usr/bin/wc", "-c"], feed, hint="") == "1000000\n"


def test_the_command_ends_with_the_report_instead_of_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with status 1."""

    def fail(_: object) -> None:
        raise DevclusterError("port 53 is taken", hint="free it")

    monkeypatch.setattr(cluster, "up", fail)
    result = CliRunner().invoke(cli.main, ["up"])
    assert (result.exit_code, result.stderr) == (1, "error: port 53 is taken\n  hint: free it\n")


def test_each_step_shows_its_time_and_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, on standard error."""
    with step("first") as current:
        current.cached()
    with pytest.raises(ZeroDivisionError), step("second"):
        _ = 1 / 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.split() == ["first", "0.0", "s", "cached"]
    assert second.split() == ["second", "0.0", "s", "FAILED"]
