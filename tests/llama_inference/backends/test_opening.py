"""From settings to a backend that answers: the Hub, the cache, and real weights."""

import fcntl
import gc
import json
from pathlib import Path
from typing import Any

import pytest

from llama_inference import settings as settings_module
from llama_inference.backends.base import Backend
from llama_inference.backends.opening import Healed, open_backend
from llama_inference.engine import token as token_module
from llama_inference.engine.progress import Progress, Stage
from llama_inference.errors import DamagedCacheError, LoadError, LoadReason
from llama_inference.metrics import Metrics
from llama_inference.settings import Settings
from tests.llama_inference.harness import settings
from tests.llama_inference.repository import NAME, NOWHERE, Repository


def failing(reason: LoadReason) -> Any:
    """What fails whenever it is tried."""

    def action() -> None:
        raise LoadError(reason, "it cannot be loaded")

    return action


def test_a_failed_load_looks_for_damage_once() -> None:
    """To read a large model again takes minutes; most failures are the device's."""
    looked: list[str] = []

    def sound(commit: str) -> list[str]:
        looked.append(commit)
        return []

    healed = Healed(sound)
    for _ in range(3):
        with pytest.raises(LoadError):
            healed.run("c0ffee", failing(LoadReason.LOAD_FAILED))
    assert looked == ["c0ffee"]


def test_only_a_failed_load_looks_for_damage() -> None:
    """What has another reason has nothing to do with the cache."""
    healed = Healed(lambda _: pytest.fail("it looked"))
    with pytest.raises(LoadError):
        healed.run("c0ffee", failing(LoadReason.UNSUPPORTED_ARCHITECTURE))
    assert healed.run("c0ffee", lambda: 7) == 7


def test_damage_names_some_of_the_files() -> None:
    """Not all of a hundred."""
    healed = Healed(lambda _: ["a", "b", "c", "d"])
    with pytest.raises(DamagedCacheError, match=r"^a, b, c and others in the cache held other content"):
        healed.run("c0ffee", failing(LoadReason.LOAD_FAILED))


def test_a_cache_that_cannot_be_read_is_the_first_failure_still() -> None:
    """Looking must not hide why it looked."""

    def unreadable(_: str) -> list[str]:
        raise OSError(5, "Input/output error")

    with pytest.raises(LoadError, match="it cannot be loaded"):
        Healed(unreadable).run("c0ffee", failing(LoadReason.LOAD_FAILED))


class Starter:
    """Servers that load from one repository with real weights, one after the other."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.progress = Progress(NAME, "main")
        self.metrics = Metrics()

    def settings(self, **given: Any) -> Settings:
        """Of a server for the repository."""
        values: dict[str, Any] = {
            "backend": "transformers",
            "model": NAME,
            "endpoint": self.repository.hub.url,
            "cache_dir": self.repository.cache_dir,
            "token_file": self.repository.token_path,
            "dtype": "float32",
            "retry_seconds": 0.01,
            "retry_max_seconds": 0.01,
        }
        return settings(**{**values, **given})

    def open(self, **given: Any) -> Backend:
        """Start, and wait until it answers."""
        self.progress = Progress(NAME, "main")
        return open_backend(self.settings(**given), self.progress, self.metrics)

    def refused(self, reason: LoadReason, mend: Any, **given: Any) -> str:
        """Start, wait for a refusal, mend its cause, and wait until it answers; return the refusal's message."""
        seen: list[str] = []

        class Watched(Progress):
            def failed(
                self, stage: Stage, reason: LoadReason, message: str, *, attempt: int, retry_in: float | None
            ) -> None:
                super().failed(stage, reason, message, attempt=attempt, retry_in=retry_in)
                seen.append(f"{reason.value}: {message}")
                mend()

        open_backend(self.settings(**given), Watched(NAME, "main"), self.metrics)
        (message,) = seen
        assert message.startswith(reason.value)
        return message


@pytest.fixture
def starter(repository: Repository, tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starter:
    """The tiny Llama on the Hub."""
    monkeypatch.setattr(token_module, "POLL_S", 0.01)
    repository.folder = tmp_path / "tiny"
    repository.folder.mkdir()
    for path in tiny_dir.iterdir():
        (repository.folder / path.name).write_bytes(path.read_bytes())
    repository.publish()
    return Starter(repository)


@pytest.mark.slow
def test_a_model_is_served_from_the_hub_and_from_the_cache(starter: Starter) -> None:
    """The second start asks nobody."""
    first = starter.open()
    assert starter.progress.report()["stage"] == "Golden"
    again = starter.open(endpoint=NOWHERE)
    assert again.info == first.info
    assert (first.info.max_context, first.info.vocabulary, first.info.dtype) == (256, 392, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False])
def test_what_is_served_is_noted_in_a_cache_of_its_own(
    starter: Starter, monkeypatch: pytest.MonkeyPatch, *, own: bool
) -> None:
    """So that no server beside it makes room of it, as long as this process lives; into others nothing is written."""
    if own:
        monkeypatch.setattr(settings_module, "OPERATORS_TOKEN_FILE", starter.repository.token_path)
    starter.open()
    gc.collect()
    cache, commit = starter.repository.cache, starter.progress.commit
    assert commit is not None
    assert cache.markers() == ([cache.marker(commit)] if own else [])
    if own:
        with cache.marker(commit).open("r+b") as marker, pytest.raises(BlockingIOError):
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "at"), [("model.safetensors", 8), ("config.json", 0), ("tokenizer.json", 0)])
def test_a_cache_damaged_on_disk_is_mended_at_the_next_start(starter: Starter, file: str, at: int) -> None:
    """The damage is found when it hinders, its file is fetched again, and the server answers."""
    starter.open()
    repository = starter.repository
    commit = repository.hub.repos[NAME].refs["main"]
    blob = repository.blob(repository.cache.snapshot(commit), file)
    content = bytearray(blob.read_bytes())
    content[at] ^= 0xFF
    blob.write_bytes(content)
    repository.hub.journal.clear()
    starter.open(revision=commit)
    assert [record.file for record in repository.hub.requests if record.file] == [file]
    assert [row["state"] for row in starter.progress.report()["stages"]] == ["done"] * 4 + ["pending"]


@pytest.mark.slow
def test_an_unsupported_architecture_is_refused_before_its_weights_are_fetched(starter: Starter) -> None:
    """It names the type; another revision mends it."""
    repository = starter.repository
    path = repository.folder / "config.json"
    good = path.read_text()
    path.write_text(json.dumps({"model_type": "gpt-17", "architectures": ["GPT17"], "auto_map": {"x": "evil.py"}}))
    repository.publish()
    fetched: list[int] = []

    def mend() -> None:
        fetched.append(len(repository.transfers()))
        path.write_text(good)
        repository.publish()

    message = starter.refused(LoadReason.UNSUPPORTED_ARCHITECTURE, mend)
    assert "'gpt-17' (architecture GPT17)" in message
    assert fetched == [0]


@pytest.mark.slow
def test_code_in_the_repository_is_never_run(starter: Starter, tmp_path: Path) -> None:
    """A model of a known type is loaded by transformers' own class, whatever its configuration points at."""
    folder = starter.repository.folder
    mark = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"), "evil.Evil")
    (folder / "config.json").write_text(json.dumps(config))
    starter.repository.publish()
    starter.open()
    assert not mark.exists()
    assert starter.repository.transfers("evil.py") == []


@pytest.mark.slow
def test_a_local_folder_needs_no_hub(starter: Starter) -> None:
    """Nothing is fetched; what is no model is told."""
    opened = starter.open(model="", model_dir=starter.repository.folder, dtype="bfloat16", max_context_tokens=99)
    assert (opened.info.dtype, opened.info.max_context) == ("bfloat16", 99)
    assert starter.repository.hub.requests == []
    config = starter.repository.folder / "config.json"
    good = config.read_text()
    config.unlink()
    message = starter.refused(
        LoadReason.LOAD_FAILED, lambda: config.write_text(good), model="", model_dir=starter.repository.folder
    )
    assert "holds no config.json" in message


@pytest.mark.slow
def test_a_model_without_a_chat_template_says_so(starter: Starter) -> None:
    """The fact is known before the first request."""
    (starter.repository.folder / "chat_template.jinja").unlink()
    starter.repository.publish()
    assert starter.open().info.has_chat_template is False
