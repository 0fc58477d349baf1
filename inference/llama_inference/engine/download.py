"""From a revision to a complete snapshot in the cache: what the stages Resolve and Download do."""

import json
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from llama_inference.engine.cache import RepoCache
from llama_inference.engine.hub import Hub
from llama_inference.engine.progress import Progress
from llama_inference.engine.room import Room
from llama_inference.engine.selection import INDEX, Listing, RemoteFile, first_files, select
from llama_inference.engine.transfer import Transfer
from llama_inference.errors import HUB_AWAY, LoadError, LoadReason
from llama_inference.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A commit and the files to have of it; no files when the commit is complete in the cache."""

    commit: str
    files: tuple[RemoteFile, ...] = ()


class Downloader:
    """Brings one repository's revision into the cache."""

    def __init__(
        self,
        hub: Hub,
        cache: RepoCache,
        progress: Progress,
        metrics: Metrics,
        *,
        timeout: float,
        workers: int,
        offline: bool = False,
        room: Room | None = None,
    ) -> None:
        """`room` makes some where the cache is this deployment's own."""
        self._hub = hub
        self._cache = cache
        self._progress = progress
        self._metrics = metrics
        self._timeout = timeout
        self._workers = workers
        self._offline = offline
        self._room = room

    def resolve(self) -> Resolved:
        """Find the commit and what to download of it; the small files that decide this are fetched here.

        A complete commit is served from the cache when the revision is that commit, or when the Hub cannot be reached.
        When the Hub refuses (token, access), its answer counts: access that was taken back ends here. Offline the Hub
        is not asked, and what the cache has not complete is not there.

        Raises:
            LoadError: with any of the Hub's and the repository's reasons, or LoadFailed.
        """
        with self._hub.explained():
            resolved = self._resolve()
            self._use(resolved.commit)
            # What was complete a moment ago, another server may have removed before it was said to be used.
            gone = not resolved.files and not self._cache.is_complete(resolved.commit)
            return self._resolve() if gone else resolved

    def _use(self, commit: str) -> None:
        if self._room is not None:
            self._room.use(commit)

    def _resolve(self) -> Resolved:
        known = self._cache.known_commit(self._hub.revision)
        if known is not None and (self._offline or known == self._hub.revision):
            return Resolved(known)
        if self._offline:
            message = (
                f"the cache {self._cache.root} has no complete copy of {self._hub.model} at {self._hub.revision}, and "
                "this server fetches none: let whoever fills the cache finish"
            )
            raise LoadError(LoadReason.LOAD_FAILED, message)
        try:
            listing = self._hub.list_files()
        except LoadError as error:
            if known is None or error.reason not in HUB_AWAY:
                raise
            log.warning("the Hub cannot be reached: the cached commit is used", extra={"commit": known})
            return Resolved(known)
        if self._cache.is_complete(listing.commit):
            self._cache.complete_again(listing.commit, self._hub.revision)
            return Resolved(listing.commit)
        self._cache.prepare()
        self._use(listing.commit)
        names = first_files(listing)
        self._fetch(listing.commit, [listing.files[name] for name in names])
        shards = self._shards(listing) if INDEX in names else ()
        return Resolved(listing.commit, select(listing, shards))

    def _shards(self, listing: Listing) -> Iterable[str]:
        text = (self._cache.snapshot(listing.commit) / INDEX).read_text()
        try:
            weight_map: dict[str, str] = json.loads(text)["weight_map"]
        except (ValueError, KeyError) as error:
            message = f"{INDEX} of commit {listing.commit} is not an index of shards: choose another revision"
            raise LoadError(LoadReason.BROKEN_REPOSITORY, message) from error
        return weight_map.values()

    def download(self, resolved: Resolved) -> Path:
        """Fetch what is missing, resuming; return the folder of the snapshot.

        Raises:
            LoadError: with any of the Hub's reasons, DiskFull, or LoadFailed when the cache cannot be written.
        """
        if resolved.files:
            with self._hub.explained():
                self._complete(resolved)
        return self._cache.snapshot(resolved.commit)

    def _complete(self, resolved: Resolved) -> None:
        contents = {file.key: file for file in resolved.files}.values()  # the same under two names comes once
        total = sum(file.size for file in contents)
        held = {file.key: self._cache.held(file) for file in contents}
        done = sum(held.values())
        self._progress.expect(total, done)
        if self._room is not None:
            self._cache.link_held(resolved.commit, resolved.files)
            self._room.make(total - done, held)
        self._cache.require_space(total - done)
        self._fetch(resolved.commit, resolved.files, held)
        self._cache.complete(resolved.commit, self._hub.revision, resolved.files)

    def _received(self, count: int) -> None:
        self._progress.received(count)
        if count > 0:
            self._metrics.download_bytes.inc(count)

    def _fetch(self, commit: str, files: Iterable[RemoteFile], held: Mapping[str, int] | None = None) -> None:
        """Fetch the files, and count their bytes where it is said how many of each (by key) are counted already."""
        counted = held is not None
        transfer = Transfer(
            self._hub.client,
            timeout=self._timeout,
            on_bytes=self._received if counted else _uncounted,
            on_others=self._progress.received if counted else _uncounted,
        )
        headers = self._hub.headers()

        def one(names: list[RemoteFile]) -> None:
            file = names[0]
            url, blob = self._hub.url(commit, file.path), self._cache.blob(file.key)
            transfer.fetch(url, headers, file, blob, (held or {}).get(file.key, 0))
            for name in names:
                self._cache.link(commit, name)

        by_content: dict[str, list[RemoteFile]] = {}  # two transfers of the same content would wait for each other
        for file in files:
            by_content.setdefault(file.key, []).append(file)

        with ThreadPoolExecutor(self._workers, thread_name_prefix="download") as pool:
            jobs = [pool.submit(one, names) for names in by_content.values()]
            finished, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            failed = [job for job in finished if job.exception() is not None]
            if failed:
                transfer.stop.set()
                pool.shutdown(cancel_futures=True)
                failed[0].result()


def _uncounted(_: int) -> None:
    """The small files that decide the rest are no part of the download that is shown."""
