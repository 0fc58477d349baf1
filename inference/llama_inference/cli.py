"""The command line: `serve` runs the server, `openapi` prints its API."""

import asyncio
import dataclasses
import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import get_args

import click
import uvicorn

import llama_inference
import llama_package
from llama_inference import connections, logs
from llama_inference.app import Server
from llama_inference.backends.base import Backend
from llama_inference.backends.mock import MockBackend
from llama_inference.backends.opening import open_backend
from llama_inference.engine import processors
from llama_inference.engine.progress import Progress
from llama_inference.errors import ConfigurationError
from llama_inference.metrics import Metrics
from llama_inference.package_app import PackageServer
from llama_inference.settings import Settings, read
from llama_inference.tracing.otel import open_tracer
from llama_inference.values import BackendName, Json

BACKENDS = (*get_args(BackendName), "package")
log = logging.getLogger("llama_inference.cli")  # not __name__: under `python -m` that is another logger


@click.group()
@click.version_option(llama_inference.__version__)
def main() -> None:
    """Serve one Llama-architecture model over HTTP."""


@main.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--model-dir", type=click.Path(path_type=Path), help="A local folder with a model, instead of the Hub.")
@click.option("--backend", type=click.Choice(BACKENDS), help="What computes; mock needs no model.")
@click.option("--batch-invariant", is_flag=True, help="A seed repeats whatever else is computed; slower.")
@click.option("--playground", is_flag=True, help="Serve a page at / that tries predict out.")
def serve(*, batch_invariant: bool, playground: bool, **given: Json) -> None:
    """Run the server; settings come from LLAMA_INFERENCE_* variables, and options win over them.

    Exit codes: 0 after SIGTERM, 1 when the engine is lost, 2 when the settings cannot be used.
    """
    logs.configure()
    _wait_as_processors_are_shared()
    try:
        settings = read(batch_invariant=batch_invariant or None, playground=playground or None, **given)
        process = _Process(settings)
    except ConfigurationError as error:
        log.critical("the settings cannot be used: %s", error)
        sys.exit(2)
    code = process.run()
    if process.engine_alive:
        # The engine thread may sit in a download or a step that cannot be interrupted; joining it would hang.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _wait_as_processors_are_shared() -> None:
    """Set how torch's threads wait, which it reads when it is loaded; ranks in other processes inherit it."""
    have = processors.found()
    if set_now := processors.waiting(have, os.environ):
        os.environ.update(set_now)
        log.info("threads sleep while they wait: processors are shared", extra=dataclasses.asdict(have))


@main.command()
def download() -> None:
    """Fetch the model into the cache and end; settings come from LLAMA_INFERENCE_* variables.

    What stands in the way is reported at /startupz and tried again. Exit codes: 0 when it is there, complete and
    checked; 2 when the settings cannot be used; 143 after SIGTERM: what has arrived is kept.
    """
    logs.configure()
    # As the first process of a container it would else not hear the signal; transfers cannot be interrupted.
    signal.signal(signal.SIGTERM, _leave)
    try:
        settings = read()
    except ConfigurationError as error:
        log.critical("the settings cannot be used: %s", error)
        sys.exit(2)
    if not settings.model:
        log.critical("the settings cannot be used: set LLAMA_INFERENCE_MODEL to a Hub repository")
        sys.exit(2)
    from llama_inference.engine.fetching import fetch  # noqa: PLC0415 - slow to import, and of no use to the others

    folder = fetch(settings)
    log.info("the model is there", extra={"folder": str(folder)})


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    os._exit(128 + number)


@main.command("package-tools")
@click.argument("folder", type=click.Path(path_type=Path))
def package_tools(folder: Path) -> None:
    """Copy into FOLDER what runs beside a Truss package: its supervisor, and the launcher of truss's server."""
    source = Path(llama_package.__file__).parent
    shutil.copytree(source, folder / source.name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


@main.command()
def openapi() -> None:
    """Print the OpenAPI description of the server."""
    server = Server(read(backend="mock"), lambda _progress, _metrics: MockBackend())
    click.echo(json.dumps(server.app.openapi(), indent=2, ensure_ascii=False))


class _Process(uvicorn.Server):
    """uvicorn, with a drain between the signal and the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        tracer = open_tracer(os.environ, version=llama_inference.__version__)
        self._server: Server | PackageServer
        if settings.backend == "package":
            self._server = PackageServer(settings, on_lost=self._lost, tracer=tracer)
        else:
            self._server = Server(
                settings,
                self._open,
                on_lost=self._lost,
                on_released=self._released,
                tracer=tracer,
            )
        self._code = 0
        self._reason = ""
        self._signalled = False
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(connections.config(self._server.app, settings))

    def _open(self, progress: Progress, metrics: Metrics) -> Backend:
        assert isinstance(self._server, Server)  # noqa: S101 - which calls this
        return open_backend(self._settings, progress, metrics, on_lost=self._server.lose)

    @property
    def engine_alive(self) -> bool:
        return self._server.engine_alive

    def run(self, sockets: None = None) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().run(sockets)
        if not self.started:
            log.critical("the server could not start: see the line above")
            return 1
        if self._code:
            log.critical("stopped, since the engine is lost: %s", self._reason, extra={"exit_code": self._code})
        else:
            log.info("stopped", extra={"exit_code": 0})
        return self._code

    async def startup(self, sockets: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                log.info("listening", extra={"host": host, "port": port})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain. Second: end at once. Unlike uvicorn's, the signal is not raised again afterwards."""
        del frame
        if self._loop is None or self._signalled:
            self.should_exit = self.force_exit = True
            return
        self._signalled = True
        # Not here: the signal may have come in the middle of a line of log, and a stream is not written into twice.
        self._loop.call_soon_threadsafe(self._leave, sig)

    def _leave(self, sig: int) -> None:
        log.info("signal", extra={"signal": signal.Signals(sig).name})
        self._drain = asyncio.create_task(self._drain_and_stop())

    async def _drain_and_stop(self) -> None:
        began = time.monotonic()
        in_time = await self._server.drain()
        # What has been computed may still be on its way to a caller that reads slowly.
        left = self._settings.drain_seconds - (time.monotonic() - began)
        self.config.timeout_graceful_shutdown = max(connections.LAST_SECONDS, math.ceil(left))
        log.info("drained" if in_time else "the drain took too long: what ran was ended")
        self.should_exit = True

    def _released(self) -> None:
        self.should_exit = True

    def _lost(self, reason: str) -> None:
        self._code, self._reason = 1, reason
        log.critical("stopping, since the engine is lost: %s", reason)
        self.should_exit = True


if __name__ == "__main__":
    main()
