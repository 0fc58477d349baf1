"""The routes of a Truss package: the truss server's own paths and the platform's, passed on whole.

What is not in these tables is not reached: `/hot-reload` is closed to callers, and there is no `/control`.
"""

import time
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.responses import Response

from llama_inference.engine.progress import Progress
from llama_inference.errors import NotImplementedHereError, UnavailableError
from llama_inference.logs import request_id
from llama_inference.package.exchange import Exchanges
from llama_inference.package.upstream import NOT_SENT, Headers, Upstream, passed_on
from llama_inference.package.watch import Watch
from llama_inference.routes import work
from llama_inference.routes.relaying import Body, Relayed
from llama_inference.routes.responses import HungUp
from llama_inference.routes.serving import UNKNOWN_ETA_S
from llama_inference.scheduler.lifecycle import Lifecycle
from llama_inference.tracing.context import HEADER
from llama_inference.tracing.spans import current

OPENAI: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses")
ASKS: Final = ("/v1/models/{name}:predict", "/v1/models/{name}:predict_binary", "/invocations", *OPENAI)
READS: Final = ("/", "/ping", "/v1/models/{name}", "/v1/models/{name}/loaded", "/v1/models/{name}/schema", "/metrics/")
PLATFORMS: Final = (
    "/predict",
    "/production/predict",
    "/development/predict",
    "/deployment/{deployment}/predict",
    "/environments/{environment}/predict",
)
LATER: Final = tuple(path.replace("predict", "async_predict") for path in PLATFORMS)
PREDICT: Final = b"/v1/models/model:predict"
NOT_READY: Final = "Model with name model is not ready."  # truss's own words
NO_SCHEMA_YET: Final = "Schema not available, please try again later."


@dataclass(slots=True, kw_only=True)
class Package:
    """The parts of a server in front of one package."""

    name: str
    lifecycle: Lifecycle
    progress: Progress
    exchanges: Exchanges
    upstream: Upstream
    watch: Watch
    keyed: bool  # whether callers present an API key, which is not for the package

    def check(self, path: str = "") -> None:
        """Raise why a request cannot be taken now.

        Raises:
            UnavailableError: loading, in the words of the truss server; draining.
        """
        words = NO_SCHEMA_YET if path.endswith("/schema") else NOT_READY
        eta = self.progress.eta_seconds() or UNKNOWN_ETA_S
        self.lifecycle.check(UnavailableError(words, code="loading", retry_after=eta))


def router(package: Package) -> APIRouter:
    """Return the routes that reach the package."""
    routes = APIRouter()

    async def ask(request: Request) -> Response:
        """One request to the package, which counts against what it may have at once."""
        return await respond(package, request, request.scope["raw_path"])

    async def predict(request: Request) -> Response:
        """The platform's names for predict."""
        return await respond(package, request, PREDICT)

    async def read(request: Request) -> Response:
        """A question about the package, which is answered beside the requests."""
        if request.url.path == "/" and not package.lifecycle.ready:
            return JSONResponse(content=True)  # this server lives, and has no other answer until the package's does
        package.check(request.url.path)
        target = _target(request, request.scope["raw_path"])
        answer = await package.upstream.send("GET", target, sent_headers(package, request), None)
        return Relayed(answer, None)

    async def later() -> Response:
        """Requests whose answer is sent elsewhere."""
        message = "async_predict is not done here: ask predict and wait, or put a queue of your own in front"
        raise NotImplementedHereError(message)

    for paths, handler in ((ASKS, ask), (PLATFORMS, predict), (LATER, later)):
        for path in paths:
            routes.add_api_route(path, handler, methods=["POST"], response_model=None)
    for path in READS:
        routes.add_api_route(path, read, methods=["GET"], response_model=None)
    return routes


async def respond(package: Package, request: Request, path: bytes) -> Response:
    """Pass one request on and return the answer, whose body is still to come."""
    arrived = time.monotonic()
    deadline = work.deadline(request, arrived)
    package.check()
    exchange = package.exchanges.take(arrived=arrived, deadline=deadline)
    body = Body(request)
    try:
        async with HungUp(body.receive, exchange.hang_up):
            sending = package.upstream.send(
                "POST", _target(request, path), sent_headers(package, request), body.content
            )
            answer = await exchange.run(sending)
    except BaseException as error:
        exchange.finish(error)
        raise
    return Relayed(answer, exchange)


def _target(request: Request, path: bytes) -> bytes:
    """What the request line asks for: the path as it was written, and the query."""
    query: bytes = request.scope["query_string"]
    return path + b"?" + query if query else path


def sent_headers(package: Package, request: HTTPConnection) -> Headers:
    """The caller's headers, and who and which request it is.

    The package finds the id under the name that Baseten's platform gives it, as it does in each line of its log.
    """
    without = NOT_SENT | {b"authorization"} if package.keyed else NOT_SENT
    headers = passed_on(request.scope["headers"], without=without)
    identity = (request_id.get() or "").encode()
    headers += [(b"x-request-id", identity), (b"x-baseten-request-id", identity)]
    if request.client is not None and all(name != b"x-forwarded-for" for name, _ in headers):
        headers.append((b"x-forwarded-for", request.client.host.encode()))
    span = current.get()
    if span is not None:
        headers.append((HEADER.encode(), span.context.header.encode()))
    return headers
