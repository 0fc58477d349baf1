"""A cache of one deployment's own: what was used longest ago makes way, what is used or may be gone back to stays."""

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import scan_cache_dir

from llama_inference.engine.cache import RepoCache, partial
from llama_inference.engine.download import Downloader
from llama_inference.engine.hub import Hub
from llama_inference.engine.room import Room
from llama_inference.engine.token import TokenFile
from llama_inference.errors import LoadError, LoadReason
from tests.llama_inference.repository import NAME, WEIGHTS, Repository, write_model, write_shards

pytestmark = pytest.mark.slow  # real servers, real transfers

ROOM = int(2.25 * WEIGHTS)


@dataclass
class Servers:
    """Servers that start one after the other on the cache of one deployment, whose volume has little room.

    The Hub has the weights that were put there last, whatever commit is asked for.
    """

    repository: Repository
    commits: dict[int, str] = field(default_factory=dict[int, str])
    rooms: ExitStack = field(default_factory=ExitStack)

    @property
    def cache(self) -> RepoCache:
        """The cache."""
        return self.repository.cache

    def publish(self, seed: int) -> str:
        """Put other weights on the Hub, or those of before again."""
        if seed not in self.commits:
            write_model(self.repository.folder, seed=seed)
            self.commits[seed] = self.repository.publish()
        return self.commits[seed]

    def start(self, seed: int, *, own: bool = True) -> Room:
        """Start a server on a revision: it fetches it, and runs on."""
        return self.load(self.publish(seed), own=own)

    def load(self, commit: str, *, own: bool = True) -> Room:
        """Start a server on a commit."""
        room = Room(self.cache)
        self.rooms.callback(room.leave)
        hub = Hub(self.repository.hub.url, NAME, commit, TokenFile(self.repository.token_path))
        made = (hub, self.cache, self.repository.progress, self.repository.metrics)
        downloader = Downloader(*made, timeout=5.0, workers=4, room=room if own else None)
        downloader.download(downloader.resolve())
        return room

    def run(self, *seeds: int) -> None:
        """Start a server on each revision, and end it."""
        for seed in seeds:
            self.start(seed).leave()

    @property
    def complete(self) -> set[int]:
        """The revisions that are in the cache, of which nothing may be broken for the Hub's own client."""
        info = scan_cache_dir(self.cache.folder.parent)
        assert info.warnings == []
        assert {str(row.commit_hash) for repo in info.repos for row in repo.revisions} <= set(self.commits.values())
        return {seed for seed, commit in self.commits.items() if self.cache.is_complete(commit)}


@pytest.fixture
def servers(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """A volume for two sets of weights."""
    root = repository.cache_dir

    def usage(_: Path) -> SimpleNamespace:
        taken = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        return SimpleNamespace(free=max(0, ROOM - taken))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    found = Servers(repository)
    with found.rooms:
        yield found


def refused(servers: Servers, seed: int, *, own: bool = True) -> None:
    """A server finds no room."""
    with pytest.raises(LoadError) as caught:
        servers.start(seed, own=own)
    assert caught.value.reason is LoadReason.DISK_FULL


def test_a_third_set_of_weights_takes_the_place_of_the_one_used_longest_ago(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told which went, and the one before stays for a way back; files that all have in common are kept."""
    servers.run(1, 2, 3)
    assert servers.complete == {2, 3}
    (record,) = [record for record in caplog.records if "are removed from the cache" in record.message]
    assert record.levelname == "WARNING"
    assert vars(record)["removed"] == [f"{NAME}@{servers.commits[1]}"]
    assert vars(record)["bytes"] == WEIGHTS
    servers.run(2, 4)
    assert servers.complete == {2, 4}, "the last use counts, not the download"


def test_what_a_server_uses_is_not_removed_however_long_ago_it_started(servers: Servers) -> None:
    """A rollout has failed: what serves is what is gone back to, not what was tried last."""
    servers.start(1)
    servers.run(2, 3)
    assert servers.complete == {1, 3}


def test_nothing_is_removed_where_that_would_not_do(servers: Servers) -> None:
    """What two servers use leaves no room: the volume is full, as it is said."""
    servers.start(1)
    servers.start(2)
    refused(servers, 3)
    assert servers.complete == {1, 2}


def test_nothing_is_removed_where_there_is_room(servers: Servers) -> None:
    """Old weights are of use as long as nothing else needs their place."""
    servers.run(1, 2)
    assert servers.complete == {1, 2}


def test_nothing_is_removed_from_a_cache_that_is_not_its_own(servers: Servers) -> None:
    """Nobody knows who else counts on what is there."""
    servers.run(1, 2)
    refused(servers, 3, own=False)
    assert servers.complete == {1, 2}


def test_what_was_never_complete_goes_first(servers: Servers) -> None:
    """Another revision was wanted before it had arrived; the last that was whole is the way back, though older."""
    servers.run(1, 2)
    manifest = servers.cache.folder / "complete" / f"{servers.commits[2]}.json"
    manifest.unlink()
    servers.run(3)
    assert servers.complete == {1, 3}


def test_a_download_that_was_given_up_makes_way_before_any_model(servers: Servers) -> None:
    """Half of a revision that went wrong, of which nobody fetches the rest."""
    servers.run(1)
    given_up = abandoned(servers, size=WEIGHTS)
    servers.run(2)
    assert servers.complete == {1, 2}
    assert given_up.stat().st_size == 0


def test_a_download_that_another_server_is_at_is_left_alone(servers: Servers) -> None:
    """It holds its commit, though it waits before it tries again and holds no file."""
    servers.run(1)
    given_up = abandoned(servers, size=WEIGHTS)
    other = Room(servers.cache)
    servers.rooms.callback(other.leave)
    other.use("f" * 40)
    with pytest.raises(LoadError) as caught:
        servers.run(2)
    assert caught.value.reason == LoadReason.DISK_FULL
    assert given_up.stat().st_size == WEIGHTS
    assert servers.complete == {1}


def abandoned(servers: Servers, *, size: int) -> Path:
    """Part of a file that was never complete."""
    path = partial(servers.cache.blob("0" * 64))
    path.write_bytes(b"x" * size)
    return path


def test_weights_that_the_wanted_revision_has_too_are_kept(servers: Servers) -> None:
    """They are not fetched again, though the revision that they came with goes."""
    servers.run(1, 2)
    folder = write_shards(servers.repository.folder)  # one shard has the weights of the first revision
    shard = random.Random(9).randbytes(WEIGHTS)  # noqa: S311 - no secret
    (folder / "b.safetensors").write_bytes(shard)
    servers.commits[9] = servers.repository.publish()
    servers.repository.hub.journal.clear()
    with pytest.raises(LoadError):  # nothing but small files would be free
        servers.load(servers.commits[9])
    assert servers.complete == {1, 2}
    servers.cache.forget(servers.commits[2])
    servers.load(servers.commits[9]).leave()
    assert servers.repository.transfers("a.safetensors") == []
    assert 9 in servers.complete


def test_what_was_removed_before_it_was_said_to_be_used_is_fetched_again(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server of the deployment was quicker, by a moment."""
    servers.run(1)
    use = Room.use

    def late(room: Room, commit: str) -> None:
        monkeypatch.setattr(Room, "use", use)
        shutil.rmtree(servers.cache.folder)
        use(room, commit)

    monkeypatch.setattr(Room, "use", late)
    servers.run(1)
    assert servers.complete == {1}


def test_another_models_weights_make_way_too(servers: Servers) -> None:
    """The deployment had it before; its commits may have the same names as those asked for: it may be a copy."""
    servers.run(1, 2)
    other = servers.cache.folder.with_name("models--org--copy")
    shutil.copytree(servers.cache.folder, other, symlinks=True)
    shutil.rmtree(servers.cache.folder)
    write_model(servers.repository.folder, seed=1)
    servers.run(1)
    assert servers.complete == {1}
    assert [path.name for path in (other / "snapshots").iterdir()] == [servers.commits[2]]


def test_a_repository_that_a_server_begins_to_fetch_is_left_alone(servers: Servers) -> None:
    """It has no file yet by which its commit could be told from what is nobody's."""
    servers.run(1, 2)
    other = servers.cache.folder.with_name("models--org--other")
    shutil.copytree(servers.cache.folder, other, symlinks=True)
    shutil.rmtree(servers.cache.folder)
    beginning = Room(RepoCache(servers.cache.root, "org/other"))
    servers.rooms.callback(beginning.leave)
    beginning.use("f" * 40)
    refused(servers, 3)
    assert len(list((other / "snapshots").iterdir())) == 2
