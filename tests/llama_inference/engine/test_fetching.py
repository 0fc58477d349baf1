"""A cache that is filled by one process and served by another, which asks nobody."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from llama_inference.engine import fetching
from llama_inference.engine.progress import Progress
from llama_inference.engine.token import TokenFile
from llama_inference.errors import LoadError, LoadReason
from llama_inference.metrics import Metrics
from llama_inference.settings import Settings
from tests.llama_inference.repository import NAME, NOWHERE, Repository, same


def settings(repository: Repository, **given: object) -> Settings:
    """The settings of whoever fills or serves the repository's cache."""
    rest: dict[str, object] = {"endpoint": repository.hub.url, "host": "127.0.0.1", "port": 0, **given}
    return Settings(model=NAME, cache_dir=repository.cache_dir, retry_seconds=0.1, **rest)  # pyright: ignore[reportArgumentType] - by name


@pytest.mark.slow
def test_the_report_is_answered_and_nobody_is_ready() -> None:
    """200 says that the process lives, 503 that nothing is served here."""
    progress = Progress(NAME, "main")
    with fetching.reporting(progress, "127.0.0.1", 0) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            assert json.load(answer) == {"live": True}
        for path in ("/startupz", "/readyz"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}")
            with refused.value as error:
                assert error.code == 503
                body = json.load(error)
            assert path == "/readyz" or body["stage"] == "Resolve"


@pytest.mark.slow
def test_what_is_fetched_is_served_without_the_hub(repository: Repository) -> None:
    """Even where the branch has moved on since: what the cache has is what there is."""
    folder = fetching.fetch(settings(repository))
    assert same(folder, repository.folder)
    offline = settings(repository, endpoint=NOWHERE, offline=True)
    _, downloader = fetching.parts(offline, Progress(NAME, "main"), Metrics(), TokenFile(None))
    assert downloader.download(downloader.resolve()) == folder


@pytest.mark.slow
def test_a_download_that_breaks_off_is_tried_again_until_it_is_there(repository: Repository) -> None:
    """From where it stopped."""
    repository.hub.fault("cut", file="*.safetensors", after=100_000, times=1)
    assert same(fetching.fetch(settings(repository)), repository.folder)
    assert repository.transfers() == [None, "bytes=100000-"]


@pytest.mark.slow
def test_a_full_cache_that_is_filled_once_more_is_read_again(repository: Repository) -> None:
    """What a disk has spoiled since is fetched; all else stays."""
    folder = fetching.fetch(settings(repository))
    blob = repository.blob(folder)
    blob.write_bytes(bytes(blob.stat().st_size))
    assert not same(folder, repository.folder)
    assert same(fetching.fetch(settings(repository)), repository.folder)
    assert (repository.transfers(), len(repository.transfers("config.json"))) == ([None, None], 1)


def questions(repository: Repository) -> int:
    """How often the Hub was asked what there is; files that are on their way do not count."""
    return sum(record.path.startswith("/api/") for record in repository.hub.requests)


@pytest.mark.slow
def test_offline_a_half_written_cache_is_never_served(repository: Repository) -> None:
    """It is told, and the Hub is not asked."""
    repository.hub.fault("stall", file="*.safetensors", after=100_000, times=1)
    filling = threading.Thread(target=lambda: fetching.fetch(settings(repository)))
    filling.start()
    repository.hub.wait_for(lambda records: any(record.sent >= 100_000 for record in records))
    asked = questions(repository)
    offline = settings(repository, offline=True)
    _, downloader = fetching.parts(offline, Progress(NAME, "main"), Metrics(), TokenFile(None))
    with pytest.raises(LoadError, match="no complete copy of") as refused:
        downloader.resolve()
    assert refused.value.reason is LoadReason.LOAD_FAILED
    assert questions(repository) == asked
    repository.hub.clear_faults()
    filling.join(10)
    assert same(downloader.download(downloader.resolve()), repository.folder)
