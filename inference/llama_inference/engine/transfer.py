"""One file from the Hub into the cache: resumed where it stopped, checked against its hash, renamed when right.

The Hub's own client deletes what it has of a file when a transfer fails; a shard of ten gigabytes is worth keeping.
"""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2
from huggingface_hub.utils import hf_raise_for_status

from llama_inference.engine.cache import partial
from llama_inference.engine.content import BLOCK, hasher
from llama_inference.engine.selection import RemoteFile
from llama_inference.errors import LoadError, LoadReason

LOCK_POLL_S = 1.0


class Transfer:
    """Fetches files over one HTTP client; `stop` ends all transfers at their next block."""

    def __init__(
        self,
        client: httpx2.Client,
        *,
        timeout: float,
        on_bytes: Callable[[int], None],
        on_others: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`timeout` is the silence in seconds after which a transfer fails.

        `on_bytes` is told what arrives, `on_others` what other processes that share the cache bring meanwhile.
        """
        self._client = client
        self._timeout = httpx2.Timeout(timeout)
        self._on_bytes = on_bytes
        self._on_others = on_others
        self.stop = threading.Event()

    def fetch(self, url: str, headers: dict[str, str], file: RemoteFile, blob: Path, held: int) -> None:
        """Bring `file` to `blob`; return at once when it is there.

        `held` bytes of it were here when its download was counted: what has come since is told, whoever brought it.

        Raises:
            LoadError: DownloadInterrupted when the content is not what the Hub announced.
            httpx2.HTTPError, OSError: for the caller to explain; what has arrived is kept.
        """
        others = _Others(file, held, self._on_others)
        if blob.exists():
            others.brought(file.size)
            return
        with partial(blob).open("ab+") as out:
            if not self._lock(out, blob, others):
                partial(blob).unlink(missing_ok=True)  # made by this open, after another process had finished
                others.brought(file.size)
                return
            part = _Part(out, file, self._on_bytes)
            others.brought(part.have)
            if part.have < file.size:
                self._receive(url, headers, part)
            if not part.is_whole():
                part.restart()
                message = f"{file.path} arrived with another content than the Hub announced: it is fetched again"
                raise LoadError(LoadReason.DOWNLOAD_INTERRUPTED, message)
            out.flush()
            os.fsync(out.fileno())
            partial(blob).replace(blob)

    def _lock(self, out: BinaryIO, blob: Path, others: "_Others") -> bool:
        """Hold the partial file alone; False when another process that shares this cache has finished it meanwhile."""
        while not blob.exists():
            try:
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                others.brought(os.fstat(out.fileno()).st_size)
                if self.stop.wait(LOCK_POLL_S):
                    raise _stopped() from None
                continue
            # Between open and lock its former holder may have renamed this very file to the blob.
            if not blob.exists():
                return True
        return False

    def _receive(self, url: str, headers: dict[str, str], part: "_Part") -> None:
        # Identity: ranges and sizes are those of the file, not of a compressed form.
        headers = headers | {"accept-encoding": "identity"}
        if part.have:
            headers["range"] = f"bytes={part.have}-"
        with self._client.stream("GET", url, headers=headers, timeout=self._timeout, follow_redirects=True) as response:
            if response.status_code >= 400:
                response.read()  # the explanation may stand in the body
            hf_raise_for_status(response)
            if part.have and response.status_code != 206:
                part.restart()  # a server without ranges sends the file from its start
            for block in response.iter_raw():
                if self.stop.is_set():
                    raise _stopped()
                part.append(block)


class _Others:
    """How much of a file other processes that share the cache have brought since its download was counted."""

    def __init__(self, file: RemoteFile, held: int, on_others: Callable[[int], None]) -> None:
        self._file = file
        self._seen = held
        self._on_others = on_others

    def brought(self, size: int) -> None:
        size = min(size, self._file.size)
        self._on_others(size - self._seen)
        self._seen = size


class _Part:
    """The part of a file that is here, and its hash so far."""

    def __init__(self, out: BinaryIO, file: RemoteFile, on_bytes: Callable[[int], None]) -> None:
        self._out = out
        self._file = file
        self._on_bytes = on_bytes
        self._digest = hasher(file.key, file.size)
        self.have = 0
        out.seek(0)
        while block := out.read(BLOCK):
            self._digest.update(block)
            self.have += len(block)

    def append(self, block: bytes) -> None:
        self._out.write(block)
        self._digest.update(block)
        self.have += len(block)
        self._on_bytes(len(block))

    def restart(self) -> None:
        self._on_bytes(-min(self.have, self._file.size))  # more than the whole was never counted
        self._out.truncate(0)
        self._digest = hasher(self._file.key, self._file.size)
        self.have = 0

    def is_whole(self) -> bool:
        return self.have == self._file.size and self._digest.hexdigest() == self._file.key


def _stopped() -> LoadError:
    return LoadError(LoadReason.DOWNLOAD_INTERRUPTED, "stopped, since another file failed")
