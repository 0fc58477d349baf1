"""What every route that generates has in common: what a request must be, and waiting for its end or its first event.

A caller that hangs up is noticed while it waits, in the queue as well as in the engine.
"""

import asyncio
import math
import re
from collections.abc import AsyncGenerator
from typing import Final

from fastapi import Request, Response

from llama_inference.backends.base import Backend, Checks, Prepares
from llama_inference.errors import InvalidRequestError, UnsupportedMediaTypeError
from llama_inference.protocol.parameters import shown
from llama_inference.routes.responses import EventStream, HungUp
from llama_inference.routes.serving import Serving
from llama_inference.scheduler.ticket import Ticket
from llama_inference.values import Generation, Json, Outcome

# `float` alone would take what is a number to Python only, such as 1_0.
DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
TIMEOUT_HEADER: Final = "x-request-timeout"
TIMEOUT_DOCS: Final[dict[str, Json]] = {
    "name": "X-Request-Timeout",
    "in": "header",
    "description": "Seconds after which an answer is of no use; time in the queue counts.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
ERRORS: Final[dict[int | str, dict[str, Json]]] = {
    400: {"description": "A value out of range, an unknown or refused parameter, no room for output, bad JSON."},
    401: {"description": "API keys are configured, and the request has none."},
    403: {"description": "The API key is none of the configured ones."},
    404: {"description": "No model of this name."},
    408: {"description": "The request took too long to arrive."},
    413: {"description": "The body is above the limit."},
    415: {"description": "The body is not application/json."},
    429: {"description": "The queue is full; Retry-After says when there is likely to be room."},
    503: {"description": "Loading, draining, or the engine is lost; Retry-After says when to try again."},
    504: {"description": "The deadline in X-Request-Timeout passed, time in the queue counted in."},
}


def deadline(request: Request, arrived: float) -> float | None:
    """Return when an answer is of no use any more, in seconds of `time.monotonic`; None when the caller does not say.

    Raises:
        InvalidRequestError: the header holds no number of seconds.
    """
    header = request.headers.get(TIMEOUT_HEADER)
    if header is None:
        return None
    seconds = float(header) if DECIMAL.fullmatch(header) else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        message = f"X-Request-Timeout must be a number of seconds above 0; it is {shown(header)}"
        raise InvalidRequestError(message, param="X-Request-Timeout")
    return arrived + seconds


def caller(request: Request) -> str | None:
    """Return the name of the API key that let the request in, None where none is asked for."""
    return getattr(request.state, "api_key", None)


def check_content_type(request: Request) -> None:
    """Refuse a body that is not declared as JSON.

    Raises:
        UnsupportedMediaTypeError: saying what it is declared as.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != "application/json":
        message = f"send Content-Type: application/json; it is {given[:60] or 'missing'}"
        raise UnsupportedMediaTypeError(message, param="Content-Type")


async def prepared(
    request: Request, serving: Serving, backend: Backend, generation: Generation, deadline: float | None
) -> Generation:
    """Have the backend say whether it can run a request at all, and compile what its output is held to.

    That is done beside the engine, one at a time; what has been compiled before waits for nobody. It takes seconds of a
    processor, so nothing is compiled for a request that the queue has no room for, and no more wait for it than may
    queue; whether there is room when this is done is for `lane.submit` to say.

    Raises:
        InvalidRequestError: it cannot be computed here, or not be compiled.
        QueueFullError: there is no room.
        DeadlineError: the deadline passed.
        AbandonedError: the caller hung up.
    """
    if isinstance(backend, Checks):
        backend.check(generation)
    if generation.structure is None or not isinstance(backend, Prepares):
        return generation
    serving.lane.check(generation)
    if backend.prepared(generation):
        return await asyncio.to_thread(backend.prepare, generation)
    serving.lane.check_beside(serving.preparing.asking)

    def check() -> None:
        serving.lane.check(generation)  # others have come in while this one waited for its turn

    return await serving.preparing.prepare(request, backend, generation, check=check, deadline=deadline)


async def outcome(request: Request, ticket: Ticket) -> Outcome:
    """Wait for the end; a caller that hangs up meanwhile gives its request up. Raises as `Ticket.events` does."""
    try:
        async with HungUp(request.receive, ticket.cancel):
            return await ticket.outcome()
    finally:
        ticket.cancel()


async def stream(request: Request, ticket: Ticket, events: AsyncGenerator[bytes]) -> Response:
    """Wait for the first event, so that what fails before it still has its own status; the rest is sent as it comes."""
    try:
        async with HungUp(request.receive, ticket.cancel):
            first = await anext(events)
    except BaseException:
        ticket.cancel()
        raise
    return EventStream(first, events, on_end=ticket.cancel)
