"""The start-up report: stages, bytes, rate, time left, and what is wrong."""

from typing import Any

from llama_inference.engine.progress import RATE_WINDOW_S, Progress, Stage
from llama_inference.errors import LoadReason

START = 1_790_000_000.0


class Clock:
    """A clock that a test moves."""

    now = START

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


def begun() -> tuple[Progress, Clock]:
    """A report and its clock."""
    clock = Clock()
    return Progress("a/b", "main", clock=clock), clock


def row(progress: Progress, stage: Stage) -> dict[str, Any]:
    """One stage of the report."""
    return next(row for row in progress.report()["stages"] if row["name"] == stage.value)


def test_a_fresh_report_is_all_pending() -> None:
    """With the names that the operator reads, in order."""
    progress, _ = begun()
    report = progress.report()
    assert [(row["name"], row["state"]) for row in report["stages"]] == [
        ("Resolve", "pending"), ("Download", "pending"), ("Load", "pending"), ("WarmUp", "pending"),
        ("Golden", "pending"),
    ]  # fmt: skip
    assert (report["stage"], report["ready"], report["error"]) == ("Resolve", False, None)
    assert (report["model"], report["revision"], report["commit"]) == ("a/b", "main", None)


def test_a_stage_has_its_start_and_its_seconds() -> None:
    """Running it counts on, done it stands still."""
    progress, clock = begun()
    progress.begin(Stage.RESOLVE)
    clock.now += 2.5
    assert row(progress, Stage.RESOLVE) == {
        "name": "Resolve", "state": "running", "started": "2026-09-21T14:13:20Z", "seconds": 2.5,
    }  # fmt: skip
    assert progress.finish(Stage.RESOLVE) == 2.5
    clock.now += 100
    assert row(progress, Stage.RESOLVE)["seconds"] == 2.5
    assert progress.report()["stage"] == "Download"


def test_a_download_tells_bytes_rate_and_time_left() -> None:
    """The rate is what arrived, not what was there before."""
    progress, clock = begun()
    progress.begin(Stage.DOWNLOAD)
    progress.expect(1000, 200)
    clock.now += 2
    progress.received(300)
    found = row(progress, Stage.DOWNLOAD)
    assert (found["bytes_done"], found["bytes_total"]) == (500, 1000)
    assert (found["bytes_per_second"], found["eta_seconds"]) == (150.0, 3.3)
    assert progress.eta_seconds() == 500 / 150


def test_a_stall_shows_as_a_rate_of_zero() -> None:
    """The rate is that of the last seconds: a mean over an hour would hide it."""
    progress, clock = begun()
    progress.begin(Stage.DOWNLOAD)
    progress.expect(1000, 0)
    clock.now += 1
    progress.received(500)
    clock.now += RATE_WINDOW_S * 10
    progress.received(0)
    clock.now += RATE_WINDOW_S * 2
    found = row(progress, Stage.DOWNLOAD)
    assert (found["bytes_per_second"], found["eta_seconds"]) == (0.0, None)


def test_silence_counts_on_over_the_tries_of_a_download() -> None:
    """From the last byte, or the first try where none has come; a byte ends it."""
    progress, clock = begun()
    progress.begin(Stage.DOWNLOAD)
    progress.expect(1000, 200)
    clock.now += 30
    progress.failed(Stage.DOWNLOAD, LoadReason.DOWNLOAD_INTERRUPTED, "silence", attempt=1, retry_in=2)
    assert row(progress, Stage.DOWNLOAD)["idle_seconds"] == 30.0
    progress.begin(Stage.DOWNLOAD)
    progress.expect(1000, 200)
    clock.now += 30
    assert row(progress, Stage.DOWNLOAD)["idle_seconds"] == 60.0
    progress.received(10)
    assert row(progress, Stage.DOWNLOAD)["idle_seconds"] == 0.0
    progress.finish(Stage.DOWNLOAD)
    assert "idle_seconds" not in row(progress, Stage.DOWNLOAD)


def test_a_load_tells_bytes_rate_and_time_left_and_no_silence() -> None:
    """As a download does; how long nothing came is told of what comes from elsewhere."""
    progress, clock = begun()
    progress.begin(Stage.LOAD)
    progress.expect(1000, 0, Stage.LOAD)
    clock.now += 2
    progress.received(500, Stage.LOAD)
    found = row(progress, Stage.LOAD)
    assert (found["bytes_done"], found["bytes_total"]) == (500, 1000)
    assert (found["bytes_per_second"], found["eta_seconds"]) == (250.0, 2.0)
    assert "idle_seconds" not in found
    assert progress.eta_seconds() == 2.0
    assert "bytes_total" not in row(progress, Stage.DOWNLOAD)


def test_a_load_keeps_its_bytes_until_it_begins_anew() -> None:
    """After it the server warms up; after a failure, or a damaged cache, nothing is in memory."""
    progress, _ = begun()
    progress.begin(Stage.LOAD)
    progress.expect(10, 10, Stage.LOAD)
    progress.finish(Stage.LOAD)
    progress.begin(Stage.WARM_UP)
    assert row(progress, Stage.LOAD)["bytes_done"] == 10
    for stage in (Stage.LOAD, Stage.RESOLVE):
        progress.begin(stage)
        assert "bytes_total" not in row(progress, Stage.LOAD)
        progress.expect(10, 5, Stage.LOAD)


def test_a_finished_download_has_no_rate() -> None:
    """Nothing arrives any more."""
    progress, clock = begun()
    progress.begin(Stage.DOWNLOAD)
    progress.expect(10, 0)
    clock.now += 1
    progress.received(10)
    progress.finish(Stage.DOWNLOAD)
    found = row(progress, Stage.DOWNLOAD)
    assert (found["state"], found["bytes_done"], found["bytes_per_second"]) == ("done", 10, 0.0)


def test_a_failure_is_reported_with_the_time_to_the_next_try() -> None:
    """It stays until the stage is done, so that a status does not flicker."""
    progress, clock = begun()
    progress.begin(Stage.DOWNLOAD)
    progress.failed(Stage.DOWNLOAD, LoadReason.DISK_FULL, "enlarge it", attempt=3, retry_in=8)
    clock.now += 5
    assert row(progress, Stage.DOWNLOAD)["state"] == "failed"
    assert progress.report()["error"] == {
        "reason": "DiskFull", "message": "enlarge it", "attempt": 3, "retry_in_seconds": 3.0,
    }  # fmt: skip
    progress.retrying()
    progress.begin(Stage.DOWNLOAD)
    error = progress.report()["error"]
    assert error is not None
    assert error["retry_in_seconds"] == 0.0
    progress.finish(Stage.DOWNLOAD)
    assert progress.report()["error"] is None


def test_a_stage_that_begins_again_puts_the_later_ones_before_it() -> None:
    """After a damaged cache the start-up goes back; the report goes with it."""
    progress, clock = begun()
    for stage in (Stage.RESOLVE, Stage.DOWNLOAD):
        progress.begin(stage)
        clock.now += 1
        progress.finish(stage)
    progress.begin(Stage.LOAD)
    progress.begin(Stage.RESOLVE)
    assert [row["state"] for row in progress.report()["stages"]] == ["running"] + ["pending"] * 4
    assert progress.report()["stage"] == "Resolve"
    clock.now += 1
    assert row(progress, Stage.RESOLVE)["seconds"] == 3.0
