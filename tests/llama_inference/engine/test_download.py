"""From the Hub into the cache, over a real connection: what is fetched, and when nothing is."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from llama_inference.engine import transfer
from llama_inference.engine.cache import RepoCache
from llama_inference.engine.progress import Progress
from llama_inference.metrics import Metrics
from tests.llama_inference.repository import (
    NAME,
    NOWHERE,
    SMALL,
    UNWANTED,
    WEIGHTS,
    Repository,
    same,
    write_model,
    write_shards,
)

pytestmark = pytest.mark.slow  # real servers, real transfers


def test_a_snapshot_holds_the_model_and_nothing_else(repository: Repository) -> None:
    """Safetensors and configuration; the rest is not even asked for."""
    snapshot = repository.fetch()
    assert {path.name for path in snapshot.iterdir()} == {*SMALL, "model.safetensors"}
    assert same(snapshot, repository.folder)
    assert not {record.file for record in repository.hub.requests} & set(UNWANTED)


def test_the_layout_is_that_of_the_hubs_own_client(repository: Repository) -> None:
    """So that a cache can be filled or read with it."""
    commit = repository.publish()
    snapshot = repository.fetch()
    folder = repository.cache_dir / "hub" / "models--meta-llama--tiny"
    assert snapshot == folder / "snapshots" / commit
    assert (folder / "refs" / "main").read_text() == commit
    assert (snapshot / "model.safetensors").is_symlink()


def test_the_download_is_counted(repository: Repository) -> None:
    """Bytes done and in all for the report, bytes fetched for the metrics."""
    repository.fetch()
    row = repository.progress.report()["stages"][1]
    total = WEIGHTS + sum(len(text) for text in set(SMALL.values()))  # the same content counts once
    assert (row["bytes_done"], row["bytes_total"]) == (total, total)
    fetched = repository.metrics.registry.get_sample_value("llama_inference_download_bytes_total")
    assert fetched == total - len(SMALL["config.json"])  # that one is read before, to decide


def test_shards_are_those_of_the_index(repository: Repository) -> None:
    """Two shards with the same content are one transfer, and counted once."""
    write_shards(repository.folder)
    repository.publish()
    snapshot = repository.fetch()
    assert {"a.safetensors", "b.safetensors"} <= {path.name for path in snapshot.iterdir()}
    row = repository.progress.report()["stages"][1]
    assert row["bytes_done"] == row["bytes_total"] < 2 * WEIGHTS
    assert len(repository.transfers("a.safetensors")) + len(repository.transfers("b.safetensors")) == 1


def test_a_commit_that_is_complete_needs_no_hub(repository: Repository) -> None:
    """A pinned restart asks nobody."""
    commit = repository.publish()
    repository.fetch(commit)
    repository.hub.journal.clear()
    assert same(repository.fetch(commit), repository.folder)
    assert repository.hub.requests == []
    assert same(repository.fetch(commit, endpoint=NOWHERE), repository.folder)


def test_a_branch_falls_back_to_its_last_commit_when_the_hub_is_away(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that names the commit."""
    commit = repository.publish()
    repository.fetch()
    snapshot = repository.fetch(endpoint=NOWHERE)
    assert snapshot.name == commit
    (record,) = [record for record in caplog.records if "cannot be reached" in record.message]
    assert record.levelname == "WARNING"
    assert vars(record)["commit"] == commit


def test_a_hub_that_is_in_trouble_is_as_good_as_away(repository: Repository) -> None:
    """A 503 does not hold up a restart."""
    repository.fetch()
    repository.hub.fault("error", status=503)
    assert same(repository.fetch(), repository.folder)


def test_a_branch_that_moved_is_fetched_anew_without_what_is_here(repository: Repository) -> None:
    """Unchanged files are not transferred again, and the old commit stays servable."""
    old = repository.publish()
    repository.fetch()
    write_model(repository.folder, seed=2)
    repository.publish()
    repository.hub.journal.clear()
    snapshot = repository.fetch()
    assert snapshot.name != old
    assert same(snapshot, repository.folder)
    assert [record.file for record in repository.hub.requests if record.file] == ["model.safetensors"]
    assert repository.fetch(old, endpoint=NOWHERE).name == old


def test_a_second_name_of_a_complete_commit_is_remembered(repository: Repository) -> None:
    """A tag on the same commit costs one question, and from then on works without the Hub."""
    repository.fetch()
    repository.publish(revision="v1")
    repository.fetch("v1")
    assert repository.transfers() == [None]
    assert same(repository.fetch("v1", endpoint=NOWHERE), repository.folder)


def test_two_servers_on_one_cache_fetch_each_file_once(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first's part, and both have the whole."""
    monkeypatch.setattr(transfer, "LOCK_POLL_S", 0.01)
    repository.hub.fault("stall", file="*.safetensors", after=100_000, times=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(repository.fetch)
        repository.hub.wait_for(lambda records: any(record.sent >= 100_000 for record in records))
        second = pool.submit(repository.fetch)
        repository.hub.wait_for(lambda records: sum(record.path.endswith("revision/main") for record in records) == 2)
        repository.hub.clear_faults()
        assert same(first.result(10), repository.folder)
        assert same(second.result(10), repository.folder)
    assert repository.transfers() == [None]


def test_who_waits_for_another_servers_transfer_reports_its_bytes(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come to the same cache: whoever waits for them is not stalled, and has fetched nothing itself."""
    monkeypatch.setattr(transfer, "LOCK_POLL_S", 0.01)
    other = replace(repository, progress=Progress(NAME, "main"), metrics=Metrics())
    repository.hub.fault("stall", file="*.safetensors", after=100_000, times=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(repository.fetch)
        repository.hub.wait_for(lambda records: any(record.sent >= 100_000 for record in records))
        second = pool.submit(other.fetch)
        repository.hub.wait_for(lambda records: sum(record.path.endswith("revision/main") for record in records) == 2)
        repository.hub.clear_faults()
        first.result(10)
        second.result(10)
    row = other.progress.report()["stages"][1]
    assert row["bytes_done"] == row["bytes_total"] > WEIGHTS
    assert fetched(other.metrics) < WEIGHTS <= fetched(repository.metrics)


def test_what_another_server_finishes_after_the_count_is_reported(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the count of what is missing and the transfer of it, all of it may come by another's hand."""
    other = replace(repository, progress=Progress(NAME, "main"), metrics=Metrics())
    require_space = RepoCache.require_space

    def finish_meanwhile(cache: RepoCache, needed: int) -> None:
        monkeypatch.setattr(RepoCache, "require_space", require_space)
        require_space(cache, needed)
        repository.fetch()

    monkeypatch.setattr(RepoCache, "require_space", finish_meanwhile)
    other.fetch()
    row = other.progress.report()["stages"][1]
    assert row["bytes_done"] == row["bytes_total"] > WEIGHTS
    assert fetched(other.metrics) == 0 < fetched(repository.metrics)


def fetched(metrics: Metrics) -> float:
    """Bytes that came from the Hub."""
    return metrics.registry.get_sample_value("llama_inference_download_bytes_total") or 0.0


def test_the_report_follows_a_transfer_under_way(repository: Repository) -> None:
    """Not only its end."""
    repository.hub.fault("stall", file="*.safetensors", after=100_000, times=1)
    thread = threading.Thread(target=repository.fetch)
    thread.start()
    repository.hub.wait_for(lambda records: any(record.sent >= 100_000 for record in records))
    while repository.progress.bytes_done < 100_000:
        threading.Event().wait(0.005)
    assert repository.progress.bytes_done < WEIGHTS
    repository.hub.clear_faults()
    thread.join(10)
    assert repository.progress.bytes_done > WEIGHTS
