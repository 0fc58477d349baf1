"""The stages of a start-up: tried until they are done, at once when the token changes."""

from pathlib import Path

import pytest

from llama_inference.engine.loader import Backoff, Stages
from llama_inference.engine.progress import Progress, Stage
from llama_inference.engine.token import TokenFile
from llama_inference.errors import LoadError, LoadReason
from llama_inference.metrics import Metrics


class Start:
    """Stages with a pause that takes no time."""

    def __init__(self, folder: Path) -> None:
        self.paused: list[float] = []
        self.token = folder / "token"
        self.progress = Progress("a/b", "main")
        self.metrics = Metrics()
        file = TokenFile(self.token, pause=self.pause)
        self.stages = Stages(self.progress, self.metrics, file, Backoff(1, 8))

    def pause(self, seconds: float) -> None:
        """Note it."""
        self.paused.append(seconds)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Stages whose waits are noted."""
    return Start(tmp_path)


def failing(times: int, reason: LoadReason = LoadReason.HUB_UNREACHABLE) -> LoadError:
    """An error, told apart by its number."""
    return LoadError(reason, f"failure {times}")


def test_a_stage_is_tried_until_it_is_done(start: Start) -> None:
    """With waits that double up to the longest."""
    tries = iter([*map(failing, range(6)), "done"])

    def action() -> str:
        found = next(tries)
        if isinstance(found, LoadError):
            raise found
        return found

    assert start.stages.run(Stage.RESOLVE, action) == "done"
    assert sum(start.paused) == 1 + 2 + 4 + 8 + 8 + 8
    assert start.progress.report()["error"] is None
    assert (
        start.metrics.registry.get_sample_value("llama_inference_model_load_seconds", {"stage": "Resolve"}) is not None
    )


def test_the_report_tells_the_failure_while_it_waits(start: Start) -> None:
    """Reason, message, attempt: what the operator shows."""
    seen: list[object] = []
    tries = iter([failing(1), failing(2)])

    def pause(_: float) -> None:
        seen.append(start.progress.report()["error"])

    stages = Stages(start.progress, start.metrics, TokenFile(None, pause=pause), Backoff(1, 1))

    def action() -> None:
        if (error := next(tries, None)) is not None:
            raise error

    stages.run(Stage.DOWNLOAD, action)
    assert [(row["reason"], row["message"], row["attempt"]) for row in seen if isinstance(row, dict)] == [
        ("HubUnreachable", "failure 1", 1),
        ("HubUnreachable", "failure 2", 2),
    ]


def test_who_wants_to_be_left_alone_is(start: Start) -> None:
    """For as long as was said; the next try is sooner only with another token."""
    waits: list[float] = []
    tries = iter([LoadError(LoadReason.HUB_RATE_LIMITED, "429", retry_after=90)])
    stages = Stages(start.progress, start.metrics, TokenFile(None, pause=waits.append), Backoff(1, 60))

    def action() -> None:
        if (error := next(tries, None)) is not None:
            raise error

    stages.run(Stage.DOWNLOAD, action)
    assert sum(waits) == pytest.approx(90)


def test_a_new_token_is_tried_at_once(start: Start) -> None:
    """However long the wait had become."""

    def action() -> str:
        if not start.token.exists():
            raise failing(1, LoadReason.TOKEN_MISSING)
        return start.token.read_text()

    def pause(seconds: float) -> None:
        start.paused.append(seconds)
        start.token.write_text("hf_new")

    stages = Stages(start.progress, start.metrics, TokenFile(start.token, pause=pause), Backoff(60, 60))
    assert stages.run(Stage.RESOLVE, action) == "hf_new"
    assert start.paused == [1.0]


def test_a_try_that_moved_bytes_starts_the_waits_anew(start: Start) -> None:
    """A transfer that is cut off every gigabyte still arrives soon."""
    tries = iter(range(4))

    def action() -> None:
        number = next(tries)
        if number < 3:
            start.progress.received(100)
            raise failing(number, LoadReason.DOWNLOAD_INTERRUPTED)

    start.stages.run(Stage.DOWNLOAD, action)
    assert start.paused == [1.0, 1.0, 1.0]


def test_a_bug_is_not_tried_again(start: Start) -> None:
    """It ends the process, whose supervisor shows it."""
    with pytest.raises(ZeroDivisionError):
        start.stages.run(Stage.LOAD, lambda: 1 // 0)
    assert start.paused == []
