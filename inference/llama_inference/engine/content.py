"""Content as the Hub names it: the SHA-256 of a large file, git's blob id of a small one."""

import hashlib
from pathlib import Path
from typing import Protocol

BLOCK = 1 << 20
SHA256_DIGITS = 64


class Hash(Protocol):
    """The part of hashlib's objects that is used."""

    def update(self, data: bytes, /) -> None:
        """Take more of the content."""
        ...

    def hexdigest(self) -> str:
        """The name of the content so far."""
        ...


def hasher(key: str, size: int) -> Hash:
    """Return a fresh hash of the kind that made `key`, for content of `size` bytes."""
    if len(key) == SHA256_DIGITS:
        return hashlib.sha256()
    # Git's object id is a SHA-1 over a header and the content. Not a matter of security here.
    return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)


def matches(blob: Path) -> bool:
    """Whether a file holds the content that its name says.

    Raises:
        OSError: it cannot be read.
    """
    digest = hasher(blob.name, blob.stat().st_size)
    with blob.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest() == blob.name
