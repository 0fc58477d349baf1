"""API keys at the gateway's door, so that who has none wakes no model; the pods check each request that gets to them.

What is a key, and what is said to who has none, is as in the server; the two know nothing of each other but this.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

CHALLENGE: Final = 'Bearer realm="llama-inference", Api-Key realm="llama-inference"'
LOOK_SECONDS: Final = 0.25
"""How long a change of the folder may stay unnoticed."""
_SCHEMES: Final = frozenset({"api-key", "bearer"})
_HOW: Final = "send Authorization: Api-Key KEY, or Authorization: Bearer KEY"
_LARGEST_FILE: Final = 4096


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to who may not call; it holds no key."""

    status: int
    code: str
    message: str


class Door:
    """Lets in who presents one of the keys in a folder; without a folder, everybody."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._looked: float | None = None
        self._digests: tuple[bytes, ...] = ()

    def refusal(self, authorization: str | None, path: str) -> Refusal | None:
        """Return what is said to who comes to `path` with this `Authorization` header; None if the request may pass."""
        if self._folder is None:
            return None
        scheme, _, key = (authorization or "").strip().partition(" ")
        if scheme.lower() not in _SCHEMES or not key.strip():
            return Refusal(401, "missing_api_key", f"an API key is needed: {_HOW}")
        given, known = _digest(key.strip().encode(errors="surrogateescape")), self._known(self._folder)
        # All are compared in full: the time that it takes tells nothing about a key.
        if sum(hmac.compare_digest(given, digest) for digest in known):
            return None
        message = f"this API key is none of the {len(known)} that this deployment accepts: use another; {_HOW}"
        if _of_openai(path):
            return Refusal(401, "invalid_api_key", message)
        return Refusal(403, "wrong_api_key", message)

    def _known(self, folder: Path) -> tuple[bytes, ...]:
        now = asyncio.get_running_loop().time()
        if self._looked is None or now - self._looked >= LOOK_SECONDS:
            self._looked = now
            try:
                self._digests = _read(folder)
            except OSError as error:
                # The kubelet replaces all files at once, and this look was in the middle: the last one holds.
                log.warning("the API keys cannot be read: %s", error.strerror)
        return self._digests


def _of_openai(path: str) -> bool:
    """Whether callers of a path are OpenAI's clients, which know a wrong key by 401."""
    plain = re.sub("/{2,}", "/", path).rstrip("/")
    if plain in ("/tokenize", "/detokenize"):
        return True
    return plain.startswith("/v1/") and not plain.endswith((":predict", "/predict"))


def _read(folder: Path) -> tuple[bytes, ...]:
    if not folder.is_dir():
        return ()
    files = [path for path in folder.iterdir() if not path.name.startswith("..") and path.is_file()]
    keys = [path.read_bytes().strip() for path in files if path.stat().st_size <= _LARGEST_FILE]
    return tuple(_digest(key) for key in keys if key)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
