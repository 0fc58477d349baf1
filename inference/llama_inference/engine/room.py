"""Room in a cache that one deployment has to itself: what was used longest ago makes way for the model asked for.

Each server says what it uses: it touches a file of the commit's name when it starts, and keeps a lock on it until its
process ends. Never removed are the commit that is asked for, any that a server still uses, and the last complete one
besides, which is the way back. Parts of downloads that were given up go before any model.
"""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from huggingface_hub import scan_cache_dir
from huggingface_hub.utils import CachedRepoInfo, CacheNotFound, DeleteCacheStrategy, HFCacheInfo

from llama_inference.engine.cache import RepoCache

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A commit in the cache that is not the one asked for; `used` is when a server last started on it."""

    cache: RepoCache
    repo: CachedRepoInfo
    commit: str
    complete: bool
    in_use: bool
    used: float


class Room:
    """What one server does for room in the cache of its deployment; of another's cache nothing is removed."""

    def __init__(self, cache: RepoCache) -> None:
        self._cache = cache
        self._using: tuple[str, int] | None = None

    def use(self, commit: str) -> None:
        """Say that this process uses a commit, and none that it has used before; where that cannot be said, log it."""
        if self._using is not None and self._using[0] == commit:
            return
        self.leave()
        marker = self._cache.marker(commit)
        try:
            with self._alone():
                marker.parent.mkdir(parents=True, exist_ok=True)
                # Open until the process ends, which is what lets go of the lock, however it ends.
                number = os.open(marker, os.O_RDWR | os.O_CREAT, 0o664)
                self._using = commit, number
                now = time.time_ns()  # finer than the file system's own clock
                os.utime(number, ns=(now, now))
                fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            self.leave()
            log.info("the cache takes no note of what is used, and no model is removed", extra={"detail": str(error)})

    def leave(self) -> None:
        """Say that this process uses nothing any more."""
        if self._using is not None:
            os.close(self._using[1])
            self._using = None

    def make(self, needed: int, wanted: Collection[str]) -> None:
        """Remove what was used longest ago until `needed` more bytes fit; nothing where all of it would not do.

        Args:
            needed: what is still to be fetched.
            wanted: the keys of the files that this is for, whose parts are kept.
        """
        if self._using is None or needed <= self._free():
            return
        try:
            with self._alone():
                self._make(self._using[0], needed - self._free(), wanted)
        except (OSError, CacheNotFound) as error:
            log.warning("no room could be made in the cache", extra={"detail": str(error)})

    def _free(self) -> int:
        return shutil.disk_usage(self._cache.root).free

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Hold the cache alone: what is used does not change while it is looked for what is not."""
        with (self._cache.root / "room.lock").open("a+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self, commit: str, missing: int, wanted: Collection[str]) -> None:
        if missing <= 0:
            return  # another has just made it
        info = scan_cache_dir(self._cache.folder.parent)
        rows = _removable([row for row in _commits(info, self._cache.root) if not self._is(row, commit)])
        parts = [path for path in self._parts(info, commit) if path.stem not in wanted]
        missing -= sum(path.stat().st_size for path in parts)
        enough = (count for count in range(len(rows) + 1) if _freed(_strategies(info, rows[:count])) >= missing)
        count = next(enough, None)
        if count is not None:
            _empty(parts)
            _remove(info, rows[:count])

    def _is(self, row: _Kept, commit: str) -> bool:
        return (row.cache.folder, row.commit) == (self._cache.folder, commit)

    def _parts(self, info: HFCacheInfo, commit: str) -> Iterator[Path]:
        """Yield the parts of files in repositories of which no other server fetches anything."""
        mine = self._cache.marker(commit)
        for repo in info.repos:
            cache = RepoCache(self._cache.root, repo.repo_id)
            others = (marker for marker in cache.markers() if marker != mine and not cache.is_complete(marker.name))
            if not any(map(_is_locked, others)):
                yield from cache.parts()


def _commits(info: HFCacheInfo, root: Path) -> Iterator[_Kept]:
    """Yield the commits of all models that can be told apart from what a server begins to fetch."""
    for repo in info.repos:
        cache, commits = RepoCache(root, repo.repo_id), {row.commit_hash for row in repo.revisions}
        begun = any(_is_locked(marker) for marker in cache.markers() if marker.name not in commits)
        if repo.repo_type == "model" and not begun:
            yield from (_kept(cache, repo, commit) for commit in commits)


def _empty(parts: Sequence[Path]) -> None:
    """Let go of what parts hold; not of the files, for who opens one now would write to a file without a name."""
    for path in parts:
        with suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
    if parts:
        log.warning("downloads that were given up are removed from the cache", extra={"removed": len(parts)})


def _remove(info: HFCacheInfo, rows: Sequence[_Kept]) -> None:
    if not rows:
        return
    strategies = _strategies(info, rows)
    for row in rows:
        row.cache.forget(row.commit)
    for strategy in strategies:
        strategy.execute()
    removed = [f"{row.repo.repo_id}@{row.commit}" for row in rows]
    log.warning(
        "models that were used longest ago are removed from the cache: the one that is asked for needs their room",
        extra={"removed": removed, "bytes": _freed(strategies)},
    )


def _kept(cache: RepoCache, repo: CachedRepoInfo, commit: str) -> _Kept:
    return _Kept(
        cache=cache,
        repo=repo,
        commit=commit,
        complete=cache.is_complete(commit),
        in_use=_is_locked(cache.marker(commit)),
        used=cache.last_used(commit),
    )


def _removable(others: Sequence[_Kept]) -> list[_Kept]:
    """Return what may go, in this order: what never was complete, then what was used longest ago."""
    complete = sorted((row for row in others if row.complete), key=attrgetter("in_use", "used"))
    parts = sorted((row for row in others if not row.complete), key=attrgetter("used"))
    return [row for row in (*parts, *complete[:-1]) if not row.in_use]


def _is_locked(marker: Path) -> bool:
    """Whether a process that lives uses the commit of a marker."""
    with suppress(FileNotFoundError), marker.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _freed(strategies: Sequence[DeleteCacheStrategy]) -> int:
    return sum(strategy.expected_freed_size for strategy in strategies)


def _strategies(info: HFCacheInfo, rows: Sequence[_Kept]) -> list[DeleteCacheStrategy]:
    """Return the Hub's own way to remove commits: their files, but for those that remaining commits have too.

    For each repository by itself, since a copy of one has commits of the same names.
    """
    by_repo: dict[Path, list[str]] = {}
    for row in rows:
        by_repo.setdefault(row.repo.repo_path, []).append(row.commit)
    repos = {repo.repo_path: repo for repo in info.repos}
    return [
        replace(info, repos=frozenset({repos[path]})).delete_revisions(*commits) for path, commits in by_repo.items()
    ]
