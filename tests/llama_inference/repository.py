"""A repository on the test Hub, and what the server's loader makes of it; the weights are random bytes."""

import json
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llama_inference.engine.cache import RepoCache
from llama_inference.engine.download import Downloader
from llama_inference.engine.hub import Hub
from llama_inference.engine.progress import Progress
from llama_inference.engine.token import TokenFile
from llama_inference.errors import LoadError
from llama_inference.metrics import Metrics
from tests.support.hub import HubServer
from tests.support.hub.repos import Gate

NAME = "meta-llama/tiny"
NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port
WEIGHTS = 300_000
SMALL = {"config.json": '{"model_type": "llama"}', "tokenizer.json": "{}", "generation_config.json": "{}"}
UNWANTED = ("pytorch_model.bin", "modeling.py", "README.md")


def write_model(folder: Path, *, seed: int = 1) -> Path:
    """A folder with the files of a model, and some that are none of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SMALL.items():
        (folder / name).write_text(text)
    for name in UNWANTED:
        (folder / name).write_text(name)
    (folder / "model.safetensors").write_bytes(random.Random(seed).randbytes(WEIGHTS))  # noqa: S311 - no secret
    return folder


def write_shards(folder: Path) -> Path:
    """The same, in two shards of which the second repeats the first."""
    write_model(folder)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    for name in ("a.safetensors", "b.safetensors"):
        (folder / name).write_bytes(content)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@dataclass
class Repository:
    """One repository at the Hub, one cache, one token file; each call of `downloader` is a server that starts."""

    hub: HubServer
    folder: Path
    cache_dir: Path
    token_path: Path
    progress: Progress = field(default_factory=lambda: Progress(NAME, "main"))
    metrics: Metrics = field(default_factory=Metrics)

    def publish(self, *, gated: Gate = False, private: bool = False, revision: str = "main") -> str:
        """Serve the folder as it is now; return the commit."""
        return self.hub.add_repo(NAME, self.folder, gated=gated, private=private, revision=revision)

    @property
    def cache(self) -> RepoCache:
        """The cache on disk."""
        return RepoCache(self.cache_dir, NAME)

    def downloader(self, revision: str = "main", *, endpoint: str = "", timeout: float = 5.0) -> Downloader:
        """What a server that starts would use."""
        hub = Hub(endpoint or self.hub.url, NAME, revision, TokenFile(self.token_path))
        return Downloader(hub, self.cache, self.progress, self.metrics, timeout=timeout, workers=4)

    def fetch(self, revision: str = "main", *, endpoint: str = "", timeout: float = 5.0) -> Path:
        """Resolve and download; return the snapshot."""
        downloader = self.downloader(revision, endpoint=endpoint, timeout=timeout)
        return downloader.download(downloader.resolve())

    def transfers(self, file: str = "model.safetensors") -> list[str | None]:
        """The ranges in which a file was asked for, None where it was asked for from its start."""
        return [record.range for record in self.hub.requests if record.file == file]

    def blob(self, snapshot: Path, file: str = "model.safetensors") -> Path:
        """Where a file's content stands in the cache."""
        return (snapshot / file).resolve()

    def partial(self, file: str = "model.safetensors") -> Path:
        """Where a file stands that has arrived in part."""
        repo = self.hub.repos[NAME]
        return self.cache.folder / "blobs" / f"{repo.commits[repo.refs['main']][file].etag}.incomplete"


@contextmanager
def fresh(hub: HubServer, folder: Path) -> Generator[Repository]:
    """A repository on a Hub that knows nothing else, and has nothing left to do wrong."""
    hub.remove_repo(NAME)
    hub.journal.clear()
    repository = Repository(hub, write_model(folder / "model"), folder / "cache", folder / "token")
    repository.publish()
    yield repository
    hub.clear_faults()


def refusal(repository: Repository, revision: str = "main", **given: Any) -> LoadError:
    """The error of a fetch that fails."""
    with pytest.raises(LoadError) as caught:
        repository.fetch(revision, **given)
    return caught.value


def same(snapshot: Path, folder: Path) -> bool:
    """Whether the weights are those of the repository."""
    return (snapshot / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
