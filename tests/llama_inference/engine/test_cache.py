"""The cache on disk: complete or not, damaged or not."""

import pytest

from tests.llama_inference.repository import NOWHERE, Repository


def test_a_complete_commit_that_lost_a_file_is_complete_no_longer(repository: Repository) -> None:
    """Somebody tidied up; what is missing is fetched again."""
    snapshot = repository.fetch()
    repository.blob(snapshot).unlink()
    assert not repository.cache.is_complete(snapshot.name)
    repository.fetch()
    assert repository.transfers() == [None, None]


@pytest.mark.parametrize("size", [0, 1000])
def test_a_file_of_another_size_makes_a_commit_incomplete(repository: Repository, size: int) -> None:
    """As a volume that filled up, or was restored in part, leaves it."""
    snapshot = repository.fetch()
    repository.blob(snapshot).write_bytes(bytes(size))
    assert not repository.cache.is_complete(snapshot.name)
    assert repository.cache.known_commit("main") is None


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_damage_is_found_by_content_and_mended(repository: Repository, file: str) -> None:
    """One bit is enough; only the damaged file is fetched again."""
    snapshot = repository.fetch()
    blob = repository.blob(snapshot, file)
    good = blob.read_bytes()
    blob.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert repository.cache.is_complete(snapshot.name)  # nobody reads a hundred gigabytes at each start
    assert repository.cache.remove_damaged(snapshot.name) == [file]
    assert not repository.cache.is_complete(snapshot.name)
    repository.hub.journal.clear()
    assert (repository.fetch() / file).read_bytes() == good
    assert [record.file for record in repository.hub.requests if record.file] == [file]


def test_a_sound_commit_stays_as_it_is(repository: Repository) -> None:
    """Nothing is removed, and it is served without the Hub."""
    snapshot = repository.fetch()
    assert repository.cache.remove_damaged(snapshot.name) == []
    assert repository.fetch(endpoint=NOWHERE) == snapshot


def test_a_broken_manifest_makes_a_commit_incomplete(repository: Repository) -> None:
    """It is not trusted, and written anew."""
    snapshot = repository.fetch()
    (manifest,) = (repository.cache.folder / "complete").iterdir()
    manifest.write_text('{"model.safe')
    assert not repository.cache.is_complete(snapshot.name)
    repository.fetch()
    assert repository.cache.is_complete(snapshot.name)
    assert repository.transfers() == [None]
