"""API keys at the door: read from their folder, read again when it changes, checked before a request is looked at.

The folder is a mounted Secret: the kubelet replaces all its files at once, by turning the link `..data`.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from fastapi.params import Depends, Security
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from llama_inference.errors import RequestError
from llama_inference.metrics import Metrics
from llama_inference.protocol.failures import speaks_openai
from llama_inference.protocol.keys import HOW, Keys

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 0.25
LARGEST_FILE: Final = 4096  # of bytes: what is longer is no key but a mistake
AUTHORIZATION: Final = b"authorization"
Fingerprint = frozenset[tuple[str, int, int, int]]


class KeyFolder:
    """The keys in a folder: each file is one, and the file's name is the key's."""

    def __init__(self, folder: Path, *, look_every: float = LOOK_EVERY_S) -> None:
        """`look_every` is how long, in seconds, a change may stay unnoticed."""
        self._folder = folder
        self._look_every = look_every
        self._looked: float | None = None
        self._seen: Fingerprint | None = None
        self._keys = Keys()

    def current(self) -> Keys:
        """Return the keys as they are now; none, so that nobody is let in, while there is no folder."""
        now = time.monotonic()
        if self._looked is None or now - self._looked >= self._look_every:
            self._looked = now
            self._look()
        return self._keys

    def _look(self) -> None:
        try:
            seen = self._fingerprint()
            if seen == self._seen:
                return
            keys = Keys.parse({path.name: _key(path) for path in self._files()})
        except OSError as error:
            # Seen in the middle of a change, or the disk fails: what was read last holds until a look succeeds.
            log.warning("the API keys cannot be read", extra={"folder": str(self._folder), "detail": error.strerror})
            return
        self._seen, self._keys = seen, keys
        level = logging.INFO if len(keys) else logging.WARNING
        log.log(level, "API keys read", extra={"folder": str(self._folder), "keys": len(keys)})

    def _fingerprint(self) -> Fingerprint:
        stats = ((path.name, path.stat()) for path in self._files())
        return frozenset((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats)

    def _files(self) -> Iterator[Path]:
        """The files that hold keys; what begins with two dots is the kubelet's own."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if not path.name.startswith("..") and path.is_file():
                yield path


def _key(path: Path) -> bytes:
    if path.stat().st_size <= LARGEST_FILE:
        return path.read_bytes()
    log.warning("a file is too large for an API key", extra={"file": path.name, "bytes_at_most": LARGEST_FILE})
    return b""


def dependencies(folder: Path | None, metrics: Metrics) -> list[Depends]:
    """Return what stands in front of the guarded routes: the guard, and what the OpenAPI page says of it."""
    found = [Depends(guard(folder, metrics))]
    if folder is not None:
        # It only describes: the guard reads the header itself, and both schemes.
        found.append(Security(HTTPBearer(auto_error=False, description=f"An API key: {HOW}.")))
    return found


def guard(folder: Path | None, metrics: Metrics) -> Callable[[HTTPConnection], Awaitable[None]]:
    """Return what is called before each request: with a folder, it lets in only who presents one of its keys.

    The name of the key is put into the request's state, for logs and metrics.
    """
    keys = None if folder is None else KeyFolder(folder)

    async def check(request: HTTPConnection) -> None:
        if keys is None:
            return
        header = next((value for name, value in request.scope["headers"] if name == AUTHORIZATION), None)
        try:
            name = keys.current().check(header, of_openai=speaks_openai(request.url.path))
        except RequestError as error:
            metrics.key_refusals.labels(error.code).inc()
            raise
        request.state.api_key = name
        metrics.key_requests.labels(name).inc()

    return check
