"""Transfers that are cut off, stall or arrive damaged, disks that fill up; and how each goes on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from llama_inference.engine import hub as hub_module
from llama_inference.errors import LoadReason
from tests.llama_inference.repository import (
    NAME,
    NOWHERE,
    WEIGHTS,
    Repository,
    refusal,
    same,
)

pytestmark = pytest.mark.slow  # real servers, real transfers


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_transfer_that_is_cut_off_goes_on_where_it_stopped(repository: Repository, kind: Any) -> None:
    """The next try asks for the rest only."""
    repository.hub.fault(kind, file="*.safetensors", after=100_000, times=1)
    error = refusal(repository)
    assert error.reason is LoadReason.DOWNLOAD_INTERRUPTED
    kept = repository.partial().stat().st_size
    assert 0 < kept <= 100_000
    assert same(repository.fetch(), repository.folder)
    assert repository.transfers() == [None, f"bytes={kept}-"]
    row = repository.progress.report()["stages"][1]
    assert row["bytes_done"] == row["bytes_total"]


def test_a_transfer_that_stalls_is_ended_and_goes_on_where_it_stopped(repository: Repository) -> None:
    """Silence has a limit."""
    repository.hub.fault("stall", file="*.safetensors", after=100_000, times=1)
    error = refusal(repository, timeout=0.1)
    assert error.reason is LoadReason.DOWNLOAD_INTERRUPTED
    assert "fell silent" in str(error)
    assert same(repository.fetch(), repository.folder)
    assert repository.transfers() == [None, "bytes=100000-"]


def test_a_slow_transfer_is_not_a_stall(repository: Repository) -> None:
    """It may take longer than the limit of silence, as long as bytes come."""
    repository.hub.fault("slow", file="*.safetensors", bytes_per_second=1_000_000, times=1)
    assert same(repository.fetch(timeout=0.2), repository.folder)


def test_a_hub_without_ranges_sends_the_file_anew(repository: Repository) -> None:
    """What was here is thrown away, not put in front of it."""
    repository.hub.fault("cut", file="*.safetensors", after=100_000, times=1)
    refusal(repository)
    repository.hub.fault("ignore_range", file="*.safetensors", times=1)
    assert same(repository.fetch(), repository.folder)
    row = repository.progress.report()["stages"][1]
    assert row["bytes_done"] == row["bytes_total"]


def test_a_hub_that_is_down_for_a_file_is_told_as_failing(repository: Repository) -> None:
    """Not the caller's fault, and worth another try."""
    repository.hub.fault("error", file="*.safetensors", status=503, times=10)
    error = refusal(repository)
    assert error.reason is LoadReason.HUB_FAILING
    assert "(status 503)" in str(error)


def test_a_hub_that_never_answers_is_told_as_silent(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question has a limit as well."""
    monkeypatch.setattr(hub_module, "RESOLVE_TIMEOUT_S", 0.1)
    repository.hub.fault("hang")
    error = refusal(repository)
    assert error.reason is LoadReason.HUB_TIMED_OUT
    assert "let the cluster reach it, name a proxy in HTTPS_PROXY" in str(error)


def test_content_that_is_not_what_was_announced_is_thrown_away(repository: Repository) -> None:
    """It is never linked, and fetched again from its start."""
    path = repository.folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(bytes(WEIGHTS))
    error = refusal(repository)
    assert error.reason is LoadReason.DOWNLOAD_INTERRUPTED
    assert "another content than the Hub announced" in str(error)
    assert not (repository.cache.snapshot(repository.hub.repos[NAME].refs["main"]) / "model.safetensors").exists()
    path.write_bytes(content)
    assert same(repository.fetch(), repository.folder)
    assert repository.transfers() == [None, None]


def test_a_damaged_part_is_found_before_it_is_served(repository: Repository) -> None:
    """The hash is over the whole, the resumed part included."""
    repository.hub.fault("cut", file="*.safetensors", after=100_000, times=1)
    refusal(repository)
    repository.partial().write_bytes(bytes(100_000))
    assert refusal(repository).reason is LoadReason.DOWNLOAD_INTERRUPTED
    assert same(repository.fetch(), repository.folder)


def test_a_half_written_cache_is_never_served(repository: Repository) -> None:
    """When the Hub cannot be reached, only a complete commit counts: not one file of it may be missing."""
    commit = repository.publish()
    repository.hub.fault("cut", file="*.safetensors", after=100_000, times=1)
    refusal(repository)
    for revision in ("main", commit):
        assert refusal(repository, revision, endpoint=NOWHERE).reason is LoadReason.HUB_UNREACHABLE


def test_a_volume_that_is_too_small_is_found_before_the_download(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is needed and what is free."""
    usage = shutil.disk_usage(repository.folder)._replace(free=WEIGHTS // 2)

    def small(_: Path) -> object:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", small)
    error = refusal(repository)
    assert error.reason is LoadReason.DISK_FULL
    assert "enlarge its volume" in str(error)
    assert repository.transfers() == []


def test_a_cache_that_cannot_be_written_is_told(repository: Repository) -> None:
    """It is reported and tried again, and does not end the process."""
    repository.cache_dir.write_text("a file where a folder should be")
    error = refusal(repository)
    assert error.reason is LoadReason.LOAD_FAILED
    assert str(repository.cache_dir) in str(error)
    assert "check the volume and its permissions" in str(error)


def test_a_fault_of_the_disk_on_the_way_is_told(repository: Repository) -> None:
    """Here: something stands where a file's part should be written."""
    repository.hub.fault("cut", file="*.safetensors", after=100_000, times=1)
    refusal(repository)
    part = repository.partial()
    part.unlink()
    part.mkdir()
    error = refusal(repository)
    assert error.reason is LoadReason.LOAD_FAILED
    assert "cannot read or write the cache (Is a directory)" in str(error)
