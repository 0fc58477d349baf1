"""The demo's live view says what is new, once, and how far the stage under way has come."""

from typing import Any

from tools.demo.view import View, is_available, progress, size, stages


def condition(kind: str, answer: str, reason: str = "Because", message: str = "so it is") -> dict[str, Any]:
    """A condition of a status."""
    return {"type": kind, "status": answer, "reason": reason, "message": message}


def test_a_condition_is_shown_when_its_answer_or_its_reason_changes() -> None:
    """Standing still prints nothing; a new reason for the same answer does."""
    view = View()
    first = {"conditions": [condition("ModelCached", "False", "Downloading", "being fetched: 1%")]}
    later = {"conditions": [condition("ModelCached", "False", "Downloading", "being fetched: 2%")]}
    failed = {"conditions": [condition("ModelCached", "False", "TokenRejected", "correct the Secret")]}
    done = {"conditions": [condition("ModelCached", "True", "Cached", "it is there")]}
    shown = [list(view.news(status)) for status in (first, later, failed, done)]
    assert [len(lines) for lines in shown] == [1, 0, 1, 1]
    assert "correct the Secret" in shown[2][0]
    assert shown[3][0].startswith("✓ ModelCached")


def test_what_only_waits_or_repeats_is_not_shown() -> None:
    """Progressing and Degraded repeat the others, and a condition that waits has nothing to say yet."""
    status = {"conditions": [condition("Degraded", "True"), condition("ModelLoaded", "False", "Waiting")]}
    assert list(View().news(status)) == []


def test_progress_shows_bytes_rate_and_time_left() -> None:
    """Half of a download is half of the bar."""
    stage = {"name": "Download", "state": "running", "bytesDone": 50, "bytesTotal": 100, "bytesPerSecond": 10_000_000}
    line = progress({"startup": {"stage": "Download", "eta": "5s", "stages": [stage]}})
    assert line == f"Download  [{'#' * 12}{'.' * 12}]  50 B of 100 B  10 MB/s  5s left"


def test_nothing_under_way_is_an_empty_line() -> None:
    """Before the first pod, and once all is done, there is no progress to show."""
    assert progress({}) == ""
    assert progress({"startup": {"stages": [{"name": "Load", "state": "done", "seconds": 1.0}]}}) == ""


def test_only_stages_that_are_over_have_a_time() -> None:
    """The table at the end adds up what was measured."""
    rows = [{"name": "Load", "state": "done", "seconds": 1.5}, {"name": "WarmUp", "state": "running"}]
    assert stages({"startup": {"stages": rows}}) == [("Load", 1.5)]


def test_available_is_what_the_condition_says() -> None:
    """Not the phase, and not the number of pods."""
    assert is_available({"conditions": [condition("Available", "True")]})
    assert not is_available({"conditions": [condition("Available", "False")]})
    assert not is_available({})


def test_sizes_are_short() -> None:
    """Two figures are enough to see whether it moves."""
    assert [size(n) for n in (0, 999, 1500, 15_000_000, 270e6, 137e9, 2e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "15 MB",
        "270 MB",
        "137 GB",
        "2000 GB",
    ]
