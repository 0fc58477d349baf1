"""Probes and facts: `/healthz`, `/readyz` (`/health`), `/startupz`, `/metrics`, `/info`."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from llama_inference.backends.base import kv_usage
from llama_inference.engine.progress import Progress
from llama_inference.metrics import Metrics
from llama_inference.protocol.parameters import PARAMETERS
from llama_inference.protocol.predict import model_defaults
from llama_inference.protocol.reports import Health, Info, Readiness, StartupReport
from llama_inference.routes.serving import Serving
from llama_inference.scheduler.lifecycle import Lifecycle
from llama_inference.values import Json


def router(serving: Serving, metrics: Metrics) -> APIRouter:
    """Return the probe routes of one server, and what tells of its model."""

    async def backends() -> bytes:
        if serving.backend is not None:
            metrics.kv_usage.set(kv_usage(serving.backend).ratio)
        return b""

    routes = operation(
        serving.lifecycle, serving.progress, metrics, ready=lambda: serving.lifecycle.ready, more=backends
    )
    _add_info(routes, serving)
    return routes


def operation(
    lifecycle: Lifecycle,
    progress: Progress,
    metrics: Metrics,
    *,
    ready: Callable[[], bool],
    more: Callable[[], Awaitable[bytes]],
) -> APIRouter:
    """Return the probe routes of anything that serves.

    Args: `more` is called before metrics are written, and returns text that stands after them.
    """
    routes = APIRouter(tags=["operation"])

    @routes.get("/healthz", responses=_answers(Health))
    async def healthz() -> JSONResponse:  # pyright: ignore[reportUnusedFunction] - FastAPI keeps it
        """200 while the process and its engine thread live."""
        body = {"live": lifecycle.live, "phase": lifecycle.phase.value, "reason": lifecycle.reason or None}
        return JSONResponse(body, 200 if lifecycle.live else 503)

    @routes.get("/readyz", responses=_answers(Readiness))
    async def readyz() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """200 when predict would be answered; 503 while loading and from SIGTERM on."""
        is_ready = ready()
        return JSONResponse({"ready": is_ready, "phase": lifecycle.phase.value}, 200 if is_ready else 503)

    @routes.get("/health", responses=_answers(Readiness), operation_id="health")
    async def health() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """The same as /readyz, by the name that other servers of models have for it."""
        return await readyz()

    @routes.get("/startupz", responses=_answers(StartupReport))
    async def startupz() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """The start-up report: each stage, bytes, time left, and what is wrong."""
        return JSONResponse(progress.report(), 200 if ready() else 503)

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics_text() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Metrics in Prometheus' text format."""
        metrics.tasks.set(len(asyncio.all_tasks()))
        metrics.ready.set(ready())
        after = await more()
        return Response(metrics.text() + after, media_type=CONTENT_TYPE_LATEST)

    return routes


def _add_info(routes: APIRouter, serving: Serving) -> None:

    @routes.get("/info", responses={200: {"model": Info}})
    async def info() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """What is served, and within which bounds."""
        defaults = {
            name: serving.limits.default(name) for name in {*PARAMETERS} if serving.limits.default(name) is not None
        }
        model = None if serving.backend is None else serving.backend.info
        body = {
            "name": serving.name,
            "model": serving.source,
            "revision": serving.progress.commit,
            "phase": serving.lifecycle.phase.value,
            "max_context": model and model.max_context,
            "dtype": model and model.dtype,
            "device": model and model.device,
            "batch_invariant": model and model.batch_invariant,
            "chat_template": model and model.has_chat_template,
            "defaults": dict(sorted({**(model_defaults(model) if model else {}), **defaults}.items())),
            "maximums": serving.limits.maximums,
        }
        return JSONResponse(body)


def _answers(model: type[BaseModel]) -> dict[int | str, dict[str, Json]]:
    """The same shape, whether it is well or not."""
    return {200: {"model": model}, 503: {"model": model, "description": "Not, or not yet."}}
