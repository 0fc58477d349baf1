"""From settings to a backend that answers: the stages of a start-up joined. Runs on the engine thread."""

import dataclasses
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from llama_inference.backends.base import Backend
from llama_inference.backends.mock_batch import BatchingMock, Pace
from llama_inference.engine.loader import Backoff, Stages
from llama_inference.engine.progress import Progress, Stage
from llama_inference.engine.token import TokenFile
from llama_inference.errors import DamagedCacheError, LoadError, LoadReason
from llama_inference.metrics import Metrics
from llama_inference.settings import Settings

log = logging.getLogger(__name__)
R = TypeVar("R")


def open_backend(
    settings: Settings,
    progress: Progress,
    metrics: Metrics,
    *,
    on_lost: Callable[[str], None] = lambda reason: log.critical("a rank is lost: %s", reason),
) -> Backend:
    """Bring up the backend that the settings name; returns when it answers, however long that takes.

    `on_lost` is called from another thread, with the reason, when a rank is gone without which it cannot answer.
    """
    open_folder = partial(_open, settings, progress, on_lost)
    token = TokenFile(settings.token_file)
    stages = Stages(progress, metrics, token, Backoff(settings.retry_seconds, settings.retry_max_seconds))
    if settings.backend == "mock":
        pace = Pace(
            first_token_s=settings.mock_first_token_seconds,
            token_s=settings.mock_step_seconds,
            tokens=settings.mock_tokens,
        )
        mock = BatchingMock(pace, rows=settings.max_concurrent_sequences)
        for stage in (Stage.RESOLVE, Stage.DOWNLOAD, Stage.LOAD, Stage.WARM_UP):
            stages.run(stage, mock.warm_up)
        return mock
    if settings.model_dir is not None:
        folder = settings.model_dir
        stages.run(Stage.RESOLVE, lambda: _local(folder))
        stages.run(Stage.DOWNLOAD, lambda: None)
        backend = stages.run(Stage.LOAD, lambda: open_folder(folder))
    else:
        backend = _from_hub(settings, progress, metrics, token, stages, open_folder=open_folder)
    stages.run(Stage.WARM_UP, backend.warm_up)
    return backend


def _local(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        message = f"{folder} holds no config.json: give --model-dir a folder with a model"
        raise LoadError(LoadReason.LOAD_FAILED, message)


def _from_hub(
    settings: Settings,
    progress: Progress,
    metrics: Metrics,
    token: TokenFile,
    stages: Stages,
    *,
    open_folder: Callable[[Path], Backend],
) -> Backend:
    # These take a moment to import; the event loop answers probes meanwhile.
    from llama_inference.engine.download import Resolved  # noqa: PLC0415
    from llama_inference.engine.fetching import parts  # noqa: PLC0415
    from llama_inference.engine.weights import check_architecture  # noqa: PLC0415

    cache, downloader = parts(settings, progress, metrics, token, room=settings.has_own_cache)
    healed = Healed(cache.remove_damaged)

    def resolve() -> Resolved:
        resolved = downloader.resolve()
        # Before a hundred gigabytes are fetched.
        healed.run(resolved.commit, lambda: check_architecture(cache.snapshot(resolved.commit)))
        return resolved

    while True:
        try:
            resolved = stages.run(Stage.RESOLVE, resolve)
            progress.commit = resolved.commit
            folder = stages.run(Stage.DOWNLOAD, partial(downloader.download, resolved))
            return stages.run(Stage.LOAD, partial(healed.run, resolved.commit, partial(open_folder, folder)))
        except DamagedCacheError as error:
            log.warning("%s", error, extra={"commit": progress.commit})


class Healed:
    """Runs what reads the cache; when it fails, looks once whether the cache is at fault, and removes what is damaged.

    Once: to read a large model again takes minutes, and most failures are the device's.
    """

    def __init__(self, remove_damaged: Callable[[str], list[str]]) -> None:
        """`remove_damaged` takes a commit and returns the files that it removed, see `engine.cache`."""
        self._remove_damaged = remove_damaged
        self._checked = False

    def run(self, commit: str, action: Callable[[], R]) -> R:
        """Run `action` on a commit.

        Raises:
            DamagedCacheError: files were damaged and are removed.
            LoadError: as `action` says, with nothing found that the cache is to blame for.
        """
        try:
            return action()
        except LoadError as error:
            if error.reason in (LoadReason.LOAD_FAILED, LoadReason.BROKEN_REPOSITORY) and not self._checked:
                self._checked = True
                if damaged := self._damaged(commit):
                    names = ", ".join(damaged[:3]) + (" and others" if len(damaged) > 3 else "")
                    message = f"{names} in the cache held other content than was downloaded, and is fetched again"
                    raise DamagedCacheError(message) from error
            raise

    def _damaged(self, commit: str) -> list[str]:
        try:
            return self._remove_damaged(commit)
        except OSError as error:
            log.warning("the cache cannot be checked", extra={"commit": commit, "detail": error.strerror})
            return []


def _open(settings: Settings, progress: Progress, on_lost: Callable[[str], None], folder: Path) -> Backend:
    if settings.backend == "vllm":
        from llama_inference.backends.vllm_backend import VllmBackend  # noqa: PLC0415

        return VllmBackend(
            folder,
            dtype=settings.dtype,
            max_context=settings.max_context_tokens,
            rows=settings.max_concurrent_sequences,
            arguments=settings.vllm_arguments,
        )
    if settings.backend == "tgi":
        from llama_inference.backends.tgi_backend import TgiBackend, hand_over  # noqa: PLC0415
        from llama_inference.backends.tgi_start import wait_until_up  # noqa: PLC0415

        if settings.tgi_model_link is not None:
            hand_over(folder, settings.tgi_model_link)
        # Within this try: one that fails because TGI still loads would count as a model that cannot be loaded.
        wait_until_up(settings.tgi_url)
        return TgiBackend(
            folder,
            url=settings.tgi_url,
            max_context=settings.max_context_tokens,
            rows=settings.max_concurrent_sequences,
        )
    return _open_native(settings, progress, on_lost, folder)


def _open_native(settings: Settings, progress: Progress, on_lost: Callable[[str], None], folder: Path) -> Backend:
    from llama_inference.backends.native import BatchBudgets, NativeBackend, covers_loaded  # noqa: PLC0415
    from llama_inference.backends.parallel import open_ranks  # noqa: PLC0415
    from llama_inference.backends.transformers_backend import TransformersBackend  # noqa: PLC0415
    from llama_inference.engine.weights import check_architecture, load  # noqa: PLC0415

    check_architecture(folder)
    ranks = open_ranks(settings, folder, on_lost=on_lost, progress=progress) if settings.backend == "native" else None
    if ranks is not None:
        return ranks
    loaded = load(folder, settings.dtype, progress)
    reason = covers_loaded(loaded) if settings.backend == "native" else "the settings say so"
    if reason is not None:
        log.info("transformers generates, one request at a time", extra={"reason": reason})
        return TransformersBackend(loaded, max_context=settings.max_context_tokens)
    budgets = BatchBudgets(
        rows=settings.max_concurrent_sequences, tokens=settings.step_tokens, entries=settings.kv_cache_tokens
    )
    backend = NativeBackend(
        loaded, max_context=settings.max_context_tokens, budgets=budgets, batch_invariant=settings.batch_invariant
    )
    log.info("the native engine batches requests", extra=dataclasses.asdict(backend.capacity))
    return backend
