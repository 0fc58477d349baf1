"""Repositories: folders on disk seen as the Hub sees them, with commits, blob ids and LFS hashes.

Pure but for reading the files. A revision's listing is taken when it is added; contents are read when served.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import errors

Gate = Literal["auto", "manual", False]
Other = Literal["dataset", "space"]
LFS_SUFFIXES = frozenset({".safetensors", ".bin", ".gguf", ".pt", ".onnx", ".model"})
LFS_BYTES = 10 * 1024 * 1024
CREATED = "2026-01-01T00:00:00.000Z"
_MOST_HEADER = 100 * 1024 * 1024
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a revision.

    `blob` is its git object id (of the pointer, for an LFS file); `sha256` is None unless the file is stored with LFS.
    """

    name: str
    path: Path
    size: int
    blob: str
    sha256: str | None = None
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        """What the client names its cached blob by."""
        return self.sha256 or self.blob

    def listing(self) -> dict[str, Any]:
        """The file as `/tree` and `/paths-info` describe it."""
        found: dict[str, Any] = {"type": "file", "oid": self.blob, "size": self.size, "path": self.name}
        if self.sha256:
            found["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return found

    def sibling(self, *, blobs: bool) -> dict[str, Any]:
        """The file as `model_info` describes it; sizes and hashes only when asked for (`?blobs=true`)."""
        found: dict[str, Any] = {"rfilename": self.name}
        if blobs:
            found |= {"size": self.size, "blobId": self.blob}
            if self.sha256:
                found["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return found


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False).hexdigest()


def read_entry(folder: Path, path: Path) -> Entry:
    """Hash one file as git, or as git-lfs when it is large or holds weights."""
    name, size = path.relative_to(folder).as_posix(), path.stat().st_size
    if path.suffix not in LFS_SUFFIXES and size <= LFS_BYTES:
        return Entry(name, path, size, _git_blob(path.read_bytes()))
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return Entry(name, path, size, _git_blob(pointer), sha256, len(pointer))


def read_entries(folder: Path) -> dict[str, Entry]:
    """Every file below `folder`, by its name in the repository; hidden files are left out.

    Raises:
        ValueError: the folder does not exist or holds no file.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise ValueError(f"{folder} holds no file to serve: give the folder of a saved model")
    return {entry.name: entry for entry in (read_entry(folder, path) for path in files)}


def count_parameters(entries: Iterable[Entry]) -> dict[str, int]:
    """Count the elements of each type in safetensors files by their headers, as the Hub does when one is uploaded.

    A file that only has the name of one counts nothing.
    """
    counts: Counter[str] = Counter()
    for entry in entries:
        if not entry.name.endswith(".safetensors"):
            continue
        with entry.path.open("rb") as stream:
            header = stream.read(min(int.from_bytes(stream.read(8), "little"), _MOST_HEADER))
        try:
            tensors = json.loads(header)
        except ValueError:
            continue
        for name, tensor in tensors.items():
            if name != "__metadata__":
                counts[tensor["dtype"]] += math.prod(tensor["shape"])
    return dict(counts)


@dataclass(slots=True)
class Repo:
    """A model repository: its gate, its licence, its branches and tags, and the files of each commit."""

    name: str
    gated: Gate = False
    private: bool = False
    licence: str | None = None
    refs: dict[str, str] = field(default_factory=dict[str, str])
    commits: dict[str, dict[str, Entry]] = field(default_factory=dict[str, dict[str, Entry]])

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no repository name; the form is OWNER/NAME")

    def add_revision(self, revision: str, folder: Path) -> str:
        """Let `revision` point at what `folder` holds now; earlier commits stay reachable by their hash.

        Returns: the commit, 40 hex digits, the same for the same content.
        """
        entries = read_entries(folder)
        content = "\n".join([self.name, *(f"{entry.blob} {name}" for name, entry in entries.items())])
        commit = hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = entries
        self.refs[revision] = commit
        return commit

    def resolve(self, revision: str) -> str:
        """Give the commit of a branch, a tag, or a commit itself.

        Raises:
            Refusal: there is no such revision.
        """
        commit = self.refs.get(revision, revision)
        if commit not in self.commits:
            raise errors.no_revision(revision)
        return commit

    def entry(self, commit: str, name: str) -> Entry:
        """Give one file of a commit.

        Raises:
            Refusal: there is no such file.
        """
        if name not in self.commits[commit]:
            raise errors.no_entry(commit)
        return self.commits[commit][name]

    def info(self, commit: str, *, blobs: bool) -> dict[str, Any]:
        """The body of `/api/models/NAME`."""
        entries = self.commits[commit].values()
        counts = count_parameters(entries)
        safetensors = {"safetensors": {"parameters": counts, "total": sum(counts.values())}} if counts else {}
        licence = [f"license:{self.licence}"] if self.licence else []
        return {
            "_id": commit[:24],
            "id": self.name,
            "modelId": self.name,
            "author": self.name.partition("/")[0],
            "sha": commit,
            "private": self.private,
            "gated": self.gated,
            "disabled": False,
            "createdAt": CREATED,
            "lastModified": CREATED,
            "downloads": 0,
            "likes": 0,
            "tags": ["transformers", "safetensors", "llama", *licence],
            "pipeline_tag": "text-generation",
            "library_name": "transformers",
            "cardData": {"license": self.licence} if self.licence else {},
            **safetensors,
            "siblings": [entry.sibling(blobs=blobs) for entry in entries],
        }

    def tree(self, commit: str, below: str, *, recursive: bool) -> list[dict[str, Any]]:
        """The body of `/tree`: files (and folders) below a path, of all depths or of one."""
        prefix = f"{below}/" if below else ""
        folders: set[str] = set()
        found: list[dict[str, Any]] = []
        for name, entry in self.commits[commit].items():
            if not name.startswith(prefix):
                continue
            parents = name.removeprefix(prefix).split("/")[:-1]
            folders.update(prefix + "/".join(parents[: depth + 1]) for depth in range(len(parents)))
            if recursive or not parents:
                found.append(entry.listing())
        shown = (folder for folder in sorted(folders) if recursive or "/" not in folder.removeprefix(prefix))
        found += [{"type": "directory", "oid": _git_blob(name.encode()), "size": 0, "path": name} for name in shown]
        if below and not found:
            raise errors.no_entry(commit)
        return found


def other_info(kind: Other, name: str) -> dict[str, Any]:
    """The body of `/api/datasets/NAME` and `/api/spaces/NAME`."""
    found = {"_id": "0" * 24, "id": name, "sha": "0" * 40, "private": False, "disabled": False, "tags": [], "likes": 0}
    found |= {"createdAt": CREATED, "lastModified": CREATED, "siblings": []}
    return found | ({"gated": False, "downloads": 0} if kind == "dataset" else {"sdk": "gradio"})
