"""A small repository on a Hub in this process, and the true client, made impatient."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
from huggingface_hub import close_session
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from tests.support.hub import HubServer

REPO = "acme/llama"
WEIGHTS = bytes(range(250)) * 1200
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "notes/read me.md": "Grüße".encode(),
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files on disk, with one that is hidden."""
    folder = tmp_path_factory.mktemp("repo")
    for name, content in {**FILES, ".gitattributes": b"hidden"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    """A Hub with the public repository REPO."""
    with HubServer() as hub:
        hub.add_repo(REPO, folder)
        yield hub


@pytest.fixture(scope="package", autouse=True)
def client() -> Iterator[None]:
    """The true client, quiet; its connections are closed at the end, since each new set of them costs 30 ms."""
    disable_progress_bars()
    yield
    enable_progress_bars()
    close_session()


@pytest.fixture(autouse=True)
def impatient(client: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before a retry; and what has arrived is kept by the kilobyte, not by ten megabytes."""

    def sleep(seconds: float) -> None: ...

    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
