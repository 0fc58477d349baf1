"""The ASGI application in front of a Truss package: no engine, no tokens; whole requests, passed on.

Middleware, keys, probes, lifecycle and metrics are those of the application for models (`app`). What differs is what
they stand in front of: nothing here knows prompts, parameters or sequences, so this is no backend but an application
of its own.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ExceptionHandler

import llama_inference
from llama_inference.engine.progress import Progress
from llama_inference.errors import AbandonedError, InferenceError, RequestError, UnavailableError
from llama_inference.metrics import Metrics
from llama_inference.middleware.body_limit import BodyLimit
from llama_inference.middleware.observe import Observe
from llama_inference.middleware.traced import Traced
from llama_inference.package.exchange import BACKEND, Exchanges
from llama_inference.package.golden import PackageGate, parse
from llama_inference.package.upstream import BrokenOffError, Upstream
from llama_inference.package.watch import Watch
from llama_inference.protocol.openai import answers
from llama_inference.routes import keys, package, package_socket, probes
from llama_inference.scheduler.lifecycle import Lifecycle, Phase
from llama_inference.settings import Settings
from llama_inference.tracing.spans import PlainTracer, Tracer

log = logging.getLogger(__name__)
METRICS = "/metrics/"
METRICS_S = 2.0
TRUSS_ERROR = {"x-baseten-error-source": "04", "x-baseten-error-code": "600"}  # as the truss server says "not ready"


class PackageServer:
    """A server in front of one package; its interface is that of `app.Server`, as far as a process needs it."""

    def __init__(
        self, settings: Settings, *, on_lost: Callable[[str], None] = lambda _: None, tracer: Tracer | None = None
    ) -> None:
        """`on_lost` is called with the reason when the package's report is no longer followed.

        Raises:
            ConfigurationError: the golden prompts cannot be used.
        """
        self.settings = settings
        self.metrics = Metrics()
        self.engine_alive = False  # there is no engine thread to wait for
        self._on_lost = on_lost
        self._tracer = tracer or PlainTracer()
        self._guard = keys.guard(settings.api_keys_dir, self.metrics)
        self._socket = settings.package_dir / "server.sock"
        lifecycle, progress = Lifecycle(), Progress(settings.source, settings.revision)
        exchanges = Exchanges(
            concurrency=settings.package_concurrency or 1, max_queue=settings.max_queue, metrics=self.metrics
        )
        upstream = Upstream(self._socket)
        gate = PackageGate(parse(settings.golden_prompts), upstream=upstream, progress=progress, metrics=self.metrics)
        watch = Watch(
            settings.package_dir / "report.json",
            lifecycle=lifecycle,
            progress=progress,
            exchanges=exchanges,
            metrics=self.metrics,
            passed=gate.passed,
        )
        self.package = package.Package(
            name=settings.name,
            lifecycle=lifecycle,
            progress=progress,
            exchanges=exchanges,
            upstream=upstream,
            watch=watch,
            keyed=settings.api_keys_dir is not None,
        )
        self.app = self._build()

    def _build(self) -> FastAPI:
        app = FastAPI(
            title="llama-inference",
            version=llama_inference.__version__,
            lifespan=self._lifespan,
            # What a package takes is its own affair; the truss server has no such pages either.
            openapi_url=None,
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        )
        served = self.package
        app.include_router(
            probes.operation(
                served.lifecycle,
                served.progress,
                self.metrics,
                ready=lambda: served.watch.ready,
                more=self._own_metrics,
            )
        )
        app.include_router(package.router(served), dependencies=[Depends(self._guard)])
        app.include_router(package_socket.router(served, self._socket, self._guard))
        handlers: dict[type[Exception], ExceptionHandler] = {
            RequestError: _answer_error,
            AbandonedError: _answer_nobody,
            ClientDisconnect: _answer_nobody,
        }
        for kind, handler in handlers.items():
            app.add_exception_handler(kind, handler)
        app.add_middleware(BodyLimit, max_bytes=self.settings.max_body_bytes)
        app.add_middleware(Observe, metrics=self.metrics)
        app.add_middleware(Traced, tracer=self._tracer)
        return app

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncGenerator[None]:
        self.metrics.begin(BACKEND, ())
        self.metrics.info.labels(self.settings.source, self.settings.revision, "", "", BACKEND).set(1)
        watching = asyncio.create_task(self.package.watch.run(), name="package")
        watching.add_done_callback(self._watch_ended)
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await watching
            await self.package.upstream.close()
            await asyncio.to_thread(self._tracer.close)

    def _watch_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            error = task.exception()
            reason = f"the package's report is not followed any more: {type(error).__name__}: {error}"
            log.critical(reason, exc_info=error)
            self.package.lifecycle.lost(reason)
            self._on_lost(reason)

    async def _own_metrics(self) -> bytes:
        """The metrics that the package's own code keeps, so that one scrape finds both."""
        if not self.package.lifecycle.ready:
            return b""
        try:
            async with asyncio.timeout(METRICS_S):
                answer = await self.package.upstream.send("GET", METRICS.encode(), [(b"host", b"package")], None)
                try:
                    text = b"".join([piece async for piece in answer.pieces()])
                finally:
                    await answer.close()
        except (TimeoutError, InferenceError, BrokenOffError) as error:
            log.warning("the package's own metrics cannot be had", extra={"detail": str(error)})
            return b""
        return text if answer.status == 200 else b""

    async def drain(self) -> bool:
        """Stop being ready, then take no new requests, then let those under way finish. See `app.Server.drain`."""
        settings, lifecycle, exchanges = self.settings, self.package.lifecycle, self.package.exchanges
        lifecycle.leaving()
        self.package.progress.ready = False
        log.info("draining", extra={"seconds_at_most": settings.drain_seconds, "busy": exchanges.busy})
        try:
            async with asyncio.timeout(settings.drain_seconds):
                if lifecycle.phase is Phase.LEAVING:
                    await asyncio.sleep(min(settings.drain_notice_seconds, settings.drain_seconds / 2))
                lifecycle.draining()
                await exchanges.drained()
        except TimeoutError:
            if not exchanges.busy:
                return True
            message = "this replica shut down before the answer was complete: try again, another one answers"
            exchanges.fail_all(UnavailableError(message, code="draining", retry_after=1))
            return False
        return True


async def _answer_error(request: Request, error: Exception) -> Response:
    """Answer in the shape that the callers of a path expect: truss's, or OpenAI's."""
    assert isinstance(error, RequestError)  # noqa: S101 - registered for this class
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    loading = error.code == "loading"
    if loading:
        headers |= TRUSS_ERROR
    if request.url.path in package.OPENAI and not loading:
        return JSONResponse(answers.failure(error), error.status, headers)
    return JSONResponse({"error": str(error)}, error.status, headers)


async def _answer_nobody(_: Request, error: Exception) -> Response:
    del error
    return Response(status_code=499)  # never sent: the connection is closed; the number stands in the log
