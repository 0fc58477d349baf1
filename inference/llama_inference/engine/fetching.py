"""Fill a cache and do nothing else: the stages Resolve and Download, with their report over HTTP meanwhile.

What `llama-inference download` runs, in a Job that brings a model for pods to come.
"""

import json
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from llama_inference.engine.cache import RepoCache
from llama_inference.engine.download import Downloader
from llama_inference.engine.hub import Hub
from llama_inference.engine.loader import Backoff, Stages
from llama_inference.engine.progress import Progress, Stage
from llama_inference.engine.room import Room
from llama_inference.engine.token import TokenFile
from llama_inference.metrics import Metrics
from llama_inference.settings import Settings

log = logging.getLogger(__name__)


def parts(
    settings: Settings, progress: Progress, metrics: Metrics, token: TokenFile, *, room: bool = False
) -> tuple[RepoCache, Downloader]:
    """Return the cache of the settings' repository, and what brings its revision there; `room` lets it make some."""
    hub = Hub(settings.endpoint, settings.model, settings.revision, token)
    cache = RepoCache(settings.cache_dir, settings.model)
    downloader = Downloader(
        hub,
        cache,
        progress,
        metrics,
        timeout=settings.download_timeout_seconds,
        workers=settings.download_workers,
        offline=settings.offline,
        room=Room(cache) if room else None,
    )
    return cache, downloader


def fetch(settings: Settings) -> Path:
    """Return the folder of the complete, checked snapshot, however long that takes; see `loader.Stages`.

    What is there already is read again: whoever has a full cache filled once more suspects it.
    """
    progress, metrics = Progress(settings.source, settings.revision), Metrics()
    token = TokenFile(settings.token_file)
    cache, downloader = parts(settings, progress, metrics, token)
    stages = Stages(progress, metrics, token, Backoff(settings.retry_seconds, settings.retry_max_seconds))
    with reporting(progress, settings.host, settings.port):
        _heal(cache, settings.revision)
        resolved = stages.run(Stage.RESOLVE, downloader.resolve)
        progress.commit = resolved.commit
        return stages.run(Stage.DOWNLOAD, partial(downloader.download, resolved))


def _heal(cache: RepoCache, revision: str) -> None:
    commit = cache.known_commit(revision)
    damaged = cache.remove_damaged(commit) if commit is not None else []
    if damaged:
        log.warning(
            "files in the cache held other content than was downloaded: fetched again", extra={"files": damaged}
        )


@contextmanager
def reporting(progress: Progress, host: str, port: int) -> Generator[int]:
    """Answer /startupz with the report and /healthz with 200 inside the block; yield the port, any free one for 0.

    All else is 503: nothing is served here, so nobody is ever ready.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = progress.report() if self.path == "/startupz" else {"live": True}
            data = json.dumps(body).encode()
            self.send_response(200 if self.path == "/healthz" else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            log.debug(format, *args)

    with ThreadingHTTPServer((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="report", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
