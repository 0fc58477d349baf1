"""The model cache on disk, in the layout of the Hub's own client: blobs by content, snapshots of links, refs.

A commit counts as complete only when its manifest says so, which is written after every file was checked. So any
moment is safe to die at, and a complete commit can be served when the Hub cannot be reached.
"""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from llama_inference.engine import content
from llama_inference.engine.selection import RemoteFile
from llama_inference.errors import LoadError, LoadReason

GB = 1e9


class RepoCache:
    """One repository's folder."""

    def __init__(self, root: Path, repository: str) -> None:
        self.root = root
        self.folder = root / "hub" / f"models--{repository.replace('/', '--')}"

    def blob(self, key: str) -> Path:
        """Where a file's content stands once it is complete and checked."""
        return self.folder / "blobs" / key

    def snapshot(self, commit: str) -> Path:
        """The folder that looks like the repository at that commit."""
        return self.folder / "snapshots" / commit

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            LoadError: LoadFailed when the cache cannot be written.
        """
        try:
            self.blob("x").parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"cannot write to the cache {self.root} ({error.strerror}): check the volume and its permissions"
            raise LoadError(LoadReason.LOAD_FAILED, message) from error

    def held(self, file: RemoteFile) -> int:
        """How many bytes of a file are here already, complete or partial."""
        for path in (self.blob(file.key), partial(self.blob(file.key))):
            # Not asked before whether it exists: another process may rename it in between.
            with suppress(FileNotFoundError):
                return min(file.size, path.stat().st_size)
        return 0

    def require_space(self, needed: int) -> None:
        """Check that `needed` more bytes fit.

        Raises:
            LoadError: DiskFull, with the numbers.
        """
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            message = (
                f"{needed / GB:.2f} GB are still to be written to the cache {self.root}, which has {free / GB:.2f} GB "
                "free: enlarge its volume, or remove models that are not used"
            )
            raise LoadError(LoadReason.DISK_FULL, message)

    def link(self, commit: str, file: RemoteFile) -> Path:
        """Make a checked file visible in the commit's snapshot."""
        target = self.snapshot(commit) / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = os.path.relpath(self.blob(file.key), target.parent)
        if not (target.is_symlink() and os.readlink(target) == source):  # noqa: PTH115 - compares the link's own text
            fresh = _fresh(target)
            fresh.symlink_to(source)
            fresh.replace(target)
        return target

    def complete(self, commit: str, revision: str, files: Iterable[RemoteFile]) -> None:
        """Record that every file of a commit is here, and that `revision` is that commit."""
        sizes = {file.path: file.size for file in files}
        _write(self._manifest(commit), json.dumps(sizes, indent=1))
        self.complete_again(commit, revision)

    def complete_again(self, commit: str, revision: str) -> None:
        """Record that `revision` is now this commit, which was complete before."""
        if revision != commit:
            _write(self._ref(revision), commit)

    def is_complete(self, commit: str) -> bool:
        """Whether a commit can be loaded without the Hub."""
        try:
            sizes: dict[str, int] = json.loads(self._manifest(commit).read_text())
            return all((self.snapshot(commit) / path).stat().st_size == size for path, size in sizes.items())
        except (OSError, ValueError):
            return False

    def remove_damaged(self, commit: str) -> list[str]:
        """Read every file of a complete commit, and remove those whose content is not what was downloaded.

        Returns: their paths in the repository; when there are any, the commit is complete no longer.
        """
        snapshot = self.snapshot(commit)
        damaged: list[Path] = []
        for path in sorted(snapshot.rglob("*")):
            blob = path.resolve()
            if path.is_symlink() and not (blob.is_file() and content.matches(blob)):
                damaged.append(path)
        if damaged:
            self._manifest(commit).unlink(missing_ok=True)
        for path in damaged:
            path.resolve().unlink(missing_ok=True)
            path.unlink()
        return [path.relative_to(snapshot).as_posix() for path in damaged]

    def known_commit(self, revision: str) -> str | None:
        """Return the complete commit that a branch, tag or commit was when it was last seen; None if there is none."""
        candidates = [revision]
        with suppress(OSError):  # never seen under this name, or a commit
            candidates.append(self._ref(revision).read_text().strip())
        return next((commit for commit in candidates if commit and self.is_complete(commit)), None)

    def marker(self, commit: str) -> Path:
        """The file that says by its time and its lock when and by whom a commit is used; see `engine.room`."""
        return self.folder / "used" / commit

    def markers(self) -> list[Path]:
        """All such files."""
        return list(self.marker("x").parent.glob("*"))

    def parts(self) -> list[Path]:
        """The files that have begun to come; each is named by its key, which is the path's stem."""
        return [path for path in self.blob("x").parent.glob("*.incomplete") if path.stat().st_size]

    def last_used(self, commit: str) -> float:
        """When a server last started on a commit, or else when it was complete; 0 if it never was."""
        for path in (self.marker(commit), self._manifest(commit)):
            with suppress(FileNotFoundError):
                return path.stat().st_mtime
        return 0.0

    def forget(self, commit: str) -> None:
        """Say that a commit is complete no longer, and used by nobody, for its files are about to go."""
        self._manifest(commit).unlink(missing_ok=True)
        self.marker(commit).unlink(missing_ok=True)

    def link_held(self, commit: str, files: Iterable[RemoteFile]) -> None:
        """Make what is here of a commit visible in its snapshot, so that it is told apart from what is another's."""
        for file in files:
            if self.blob(file.key).exists():
                self.link(commit, file)

    def _manifest(self, commit: str) -> Path:
        return self.folder / "complete" / f"{commit.replace('/', '--')}.json"

    def _ref(self, revision: str) -> Path:
        return self.folder / "refs" / revision


def partial(blob: Path) -> Path:
    """Where a file's content stands while it arrives."""
    return blob.with_name(f"{blob.name}.incomplete")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _fresh(path)
    fresh.write_text(text)
    fresh.replace(path)


def _fresh(path: Path) -> Path:
    """A name beside `path` that nobody else uses: processes that share a cache may have the same id in their pods."""
    return path.with_name(f".{path.name}.{uuid4().hex}")
