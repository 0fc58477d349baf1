"""Keep what was built, under a name made from everything it was built from."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path


def digest(*parts: str | bytes) -> str:
    """Name content: 16 hexadecimal digits, in which ("a", "bc") and ("ab", "c") differ."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode())
        total.update(data)
    return total.hexdigest()[:16]


def digest_files(root: Path, files: Iterable[Path]) -> str:
    """Name the files' paths below root, their content and whether they can be executed."""
    parts: list[str | bytes] = []
    for file in sorted(files):
        parts += [str(file.relative_to(root)), str(os.access(file, os.X_OK)), file.read_bytes()]
    return digest(*parts)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold path's lock; the kernel frees it when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_once(target: Path, build: Callable[[Path], None]) -> bool:
    """Make the folder target by build, unless it exists; returns whether it was built.

    build fills a folder beside target, which gets target's name only when it is complete: a build that was killed
    leaves nothing that a later run would take for whole.
    """
    if target.is_dir():
        return False
    with locked(target.parent / f".{target.name}.lock"):
        if target.is_dir():
            return False
        partial = target.parent / f".{target.name}.partial"
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        build(partial)
        partial.rename(target)
    return True


@contextmanager
def workspace(parent: Path) -> Generator[Path]:
    """Lend a folder below parent for what is large and short-lived; one that was left behind goes first.

    Whoever takes one must hold a lock: there is only one at a time.
    """
    if parent.exists():
        shutil.rmtree(parent)
    parent.mkdir(parents=True)
    try:
        yield parent
    finally:
        shutil.rmtree(parent)
