"""The files of a package: laid out as truss's image has them, and exchanged for others as a whole."""

from __future__ import annotations

import shutil
from pathlib import Path

LARGE = 16 << 20  # bytes from which a file is linked to, not copied
KEEP = ".generations"  # copies of a package, beside what they are exchanged with: renames do not cross volumes
NEVER = ("__pycache__", KEEP)


def copy(source: Path, target: Path) -> None:
    """Copy a folder's content into a folder; what is large is linked to, bytecode left out."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.name in NEVER:
            continue
        if entry.is_dir():
            copy(entry, place)
        elif entry.stat().st_size >= LARGE:
            place.symlink_to(entry.resolve())
        else:
            shutil.copy(str(entry), str(place))
            place.chmod(place.stat().st_mode | 0o200)  # a layout may be read-only, what runs is changed


def clear(folder: Path) -> None:
    """Empty a folder, which may be a mount and is kept."""
    if folder.is_dir():
        for entry in folder.iterdir():
            remove(entry)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; nothing where there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif path.exists() or path.is_symlink():
        path.unlink()


def lay_out(layout: Path, app: Path, packages: Path) -> None:
    """Fill /app and /packages anew from a layout, which has app/ and packages/."""
    clear(app)
    clear(packages)
    copy(layout / "app", app)
    (app / "data").mkdir(exist_ok=True)
    if (layout / "packages").is_dir():
        copy(layout / "packages", packages)
    packages.mkdir(exist_ok=True)


def turn(link: Path, target: Path) -> None:
    """Let a link name another file beside it, at once: there is no moment without it.

    By its bare name: other containers may see the folder elsewhere.
    """
    fresh = link.with_name(f"{link.name}.next")
    remove(fresh)
    fresh.symlink_to(target.name)
    fresh.replace(link)


def write(path: Path, text: str) -> None:
    """Write a file at once: who reads it sees the old text or the new one."""
    fresh = path.with_name(f"{path.name}.next")
    fresh.write_text(text)
    fresh.replace(path)
