"""The ASGI application: parts, routes, middleware and lifespan assembled; errors → HTTP in one place."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ExceptionHandler

import llama_inference
from llama_inference.backends.base import Backend, Closes, Follows
from llama_inference.engine.progress import Progress, Stage
from llama_inference.errors import (
    AbandonedError,
    EngineLostError,
    MethodNotAllowedError,
    NotFoundError,
    RequestError,
    UnavailableError,
)
from llama_inference.golden import prompts as golden
from llama_inference.golden.gate import Gate
from llama_inference.metrics import Metrics
from llama_inference.middleware.body_limit import BodyLimit
from llama_inference.middleware.inflate import Inflate
from llama_inference.middleware.observe import Observe
from llama_inference.middleware.targets import Targets
from llama_inference.middleware.traced import Traced
from llama_inference.protocol import failures
from llama_inference.protocol.limits import Limits
from llama_inference.routes import keys, openai, playground, predict, probes, tokens
from llama_inference.routes.serving import Serving
from llama_inference.scheduler.lane import Lane
from llama_inference.scheduler.lifecycle import RESTART_S, Lifecycle, Phase, engine_lost
from llama_inference.scheduler.worker import EngineThread
from llama_inference.settings import PREFIX, Settings
from llama_inference.tracing.spans import PlainTracer, Tracer

log = logging.getLogger(__name__)
EACH_START = (Stage.LOAD, Stage.WARM_UP, Stage.GOLDEN)  # what a restart repeats; the download is in the cache
OpenBackend = Callable[[Progress, Metrics], Backend]


class Server:
    """One server: its parts, its application, and the two things that end it (a drain, a lost engine)."""

    def __init__(
        self,
        settings: Settings,
        open_backend: OpenBackend,
        *,
        on_lost: Callable[[str], None] = lambda _: None,
        on_released: Callable[[], None] = lambda: None,
        tracer: Tracer | None = None,
    ) -> None:
        """`open_backend` runs on the engine thread; `on_lost` is called with the reason when the engine is gone.

        `on_released` is called when this node has followed a leader that needs it no more.

        Raises:
            ConfigurationError: the defaults or maximums of generation, or the golden prompts, cannot be used.
        """
        assert settings.backend != "package"  # noqa: S101 - that is another application, see `package_app`
        self.settings = settings
        self.metrics = Metrics()
        self.progress = Progress(settings.source, settings.revision)
        self._on_lost = on_lost
        self._tracer = tracer or PlainTracer()
        self._on_released = on_released
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine = EngineThread[Backend](
            lambda: open_backend(self.progress, self.metrics), on_ready=self._loaded, on_death=self._died
        )
        self.serving = Serving(
            name=settings.name,
            source=settings.source,
            lifecycle=Lifecycle(),
            progress=self.progress,
            limits=Limits.parse(settings.generation_defaults, settings.generation_maximums, backend=settings.backend),
            lane=Lane(self._engine, max_queue=settings.max_queue, metrics=self.metrics),
        )
        self._gate = Gate(
            golden.parse(settings.golden_prompts),
            limits=self.serving.limits,
            lane=self.serving.lane,
            progress=self.progress,
            metrics=self.metrics,
        )
        self._opening: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self.app = self._build()

    def _build(self) -> FastAPI:
        app = FastAPI(
            title="llama-inference",
            description="Continues text with one Llama-architecture model.",
            version=llama_inference.__version__,
            lifespan=self._lifespan,
            redirect_slashes=False,
            # Spans are this server's own: they know the queue and the engine, and hold nothing of a request's content.
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        )
        guarded = keys.dependencies(self.settings.api_keys_dir, self.metrics)
        app.include_router(predict.router(self.serving), dependencies=guarded)
        app.include_router(openai.router(self.serving), dependencies=guarded)
        app.include_router(tokens.router(self.serving), dependencies=guarded)
        app.include_router(probes.router(self.serving, self.metrics))
        if self.settings.playground:
            app.include_router(playground.router())
        handlers: dict[type[Exception], ExceptionHandler] = {
            RequestError: _answer_error,
            HTTPException: _answer_http,
            AbandonedError: _answer_nobody,
            ClientDisconnect: _answer_nobody,
        }
        for kind, handler in handlers.items():
            app.add_exception_handler(kind, handler)
        app.add_middleware(Targets)
        app.add_middleware(Inflate, max_bytes=self.settings.max_body_bytes)
        app.add_middleware(BodyLimit, max_bytes=self.settings.max_body_bytes)
        if self.settings.cors_origins:
            app.add_middleware(
                CORSMiddleware, allow_origins=self.settings.cors_origins, allow_methods=["GET", "HEAD", "POST"],
                allow_headers=["*"], expose_headers=["retry-after", "traceparent", "x-request-id"],
            )  # fmt: skip
        app.add_middleware(Observe, metrics=self.metrics)
        app.add_middleware(Traced, tracer=self._tracer)
        return app

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncGenerator[None]:
        self._loop = asyncio.get_running_loop()
        self._engine.start()
        lane = asyncio.create_task(self.serving.lane.run(), name="lane")
        lane.add_done_callback(self._lane_ended)
        try:
            yield
        finally:
            for task in (lane, self._opening, self._following):
                if task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await task
            if isinstance(self.serving.backend, Closes):
                await asyncio.to_thread(self.serving.backend.close)
            await asyncio.to_thread(self._tracer.close)

    def _loaded(self, backend: Backend) -> None:
        self.serving.backend = backend
        self.serving.lane.opened(backend)
        if isinstance(backend, Follows):
            self._following = asyncio.create_task(self._follow(backend), name="following")
        elif self.serving.lifecycle.phase is Phase.LOADING:  # else the process ends already
            self._opening = asyncio.create_task(self._open(backend), name="golden prompts")
            self._opening.add_done_callback(self._opening_ended)

    async def _open(self, backend: Backend) -> None:
        if await self._gate.passed(backend):
            self._answers(backend)

    async def _follow(self, backend: Follows) -> None:
        """Compute for another node until that one needs this no more; where it is lost, so is the engine thread."""
        self._answers(backend)
        with suppress(EngineLostError):
            await self._engine.call(lambda _: backend.follow())
            log.info("the leader lets this node go")
            self._on_released()

    def _answers(self, backend: Backend) -> None:
        info = backend.info
        rows = {row["name"]: row for row in self.progress.report()["stages"]}
        loading = sum(rows[stage.value].get("seconds", 0.0) for stage in EACH_START)
        self.serving.lifecycle.restart_s = self.serving.lane.restart_s = RESTART_S + loading
        self.serving.lifecycle.serving()
        self.progress.ready = self.serving.lifecycle.ready
        labels = (self.serving.source, self.progress.commit or "", info.dtype, info.device, info.backend)
        self.metrics.info.labels(*labels).set(1)
        log.info("ready", extra={"model": self.serving.source, "dtype": info.dtype, "device": info.device})

    def lose(self, reason: str) -> None:
        """Take note, from any thread, that the engine is gone for a reason that its own thread may not notice."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._lose, reason, None)

    def _died(self, error: BaseException) -> None:
        self._lose(f"the engine thread ended: {type(error).__name__}: {error}", error)

    def _opening_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._lose(f"the golden prompts could not be asked: {type(error).__name__}: {error}", error)

    def _lane_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            error = task.exception()
            self._lose(f"the scheduler ended: {type(error).__name__}: {error}", error)

    def _lose(self, reason: str, error: BaseException | None) -> None:
        if not self.serving.live:
            return  # the first reason is the cause; what follows are its effects
        self.serving.lifecycle.lost(reason)
        self.progress.ready = False
        log.critical("the engine is lost", extra={"reason": reason}, exc_info=error)
        self.serving.lane.fail_all(engine_lost(self.serving.lifecycle.restart_s))
        self._on_lost(reason)

    @property
    def engine_alive(self) -> bool:
        """Whether the engine thread still runs."""
        return self._engine.alive

    async def drain(self) -> bool:
        """Stop being ready, then take no new requests, then let those that run and wait finish.

        Routing goes on sending requests for a moment: refusing those at once would be an error for callers who have
        done nothing wrong, so they are taken until it must have noticed.

        Returns: whether all finished in time.
        """
        settings, lane, lifecycle = self.settings, self.serving.lane, self.serving.lifecycle
        lifecycle.leaving()
        self.progress.ready = False
        if self._opening is not None:
            self._opening.cancel()
        log.info("draining", extra={"seconds_at_most": settings.drain_seconds, "busy": lane.busy})
        try:
            async with asyncio.timeout(settings.drain_seconds):
                if lifecycle.phase is Phase.LEAVING:
                    await asyncio.sleep(min(settings.drain_notice_seconds, settings.drain_seconds / 2))
                lifecycle.draining()
                await lane.drained()
                if self._following is not None:  # the leader drains as well, and computes with this node meanwhile
                    await asyncio.wait({self._following})
        except TimeoutError:
            if not lane.busy:
                return True
            message = "this replica shut down before the answer was complete: try again, another one answers"
            lane.fail_all(UnavailableError(message, code="draining", retry_after=1))
            return False
        return True


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # noqa: S101 - registered for this class
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    return JSONResponse(failures.body(request.url.path, error), error.status, headers)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    if error.status_code == 404:
        return await _answer_error(
            request, NotFoundError(f"there is nothing at {request.url.path}; GET /docs lists what there is")
        )
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
        message = f"{request.url.path} takes {allowed}, not {request.method}"
        if request.method == "OPTIONS" and "origin" in request.headers:  # a browser asks for a page from elsewhere
            message += f"; pages of other origins may call once {PREFIX}CORS_ORIGINS names theirs"
        return await _answer_error(request, MethodNotAllowedError(message, allow=allowed))
    body = failures.body(request.url.path, RequestError(error.detail, code="http_error"))
    return JSONResponse(body, error.status_code, error.headers)


async def _answer_nobody(_: Request, error: Exception) -> Response:
    del error
    return Response(status_code=499)  # never sent: the connection is closed; the number stands in the log
