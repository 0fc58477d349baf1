"""`POST /predict` and its aliases: HTTP → protocol → scheduler → stream."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from llama_inference.backends.base import Backend
from llama_inference.errors import NotFoundError, RequestError
from llama_inference.logs import request_id
from llama_inference.protocol import answer, openapi, predict
from llama_inference.routes import work
from llama_inference.routes.serving import Serving
from llama_inference.scheduler.ticket import Ticket
from llama_inference.stream import sse
from llama_inference.stream.pieces import Pieces
from llama_inference.text.decoding import front_of
from llama_inference.values import Generation, Json, Outcome, Step

# A name may hold a slash: without a LlamaDeployment it is the repository's.
PATHS: Final = ("/predict", "/v1/models/{name:path}:predict", "/v1/models/{name:path}/predict")
DOCS: Final[dict[str, Json]] = {
    "parameters": [work.TIMEOUT_DOCS],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": openapi.request_schema(), "examples": openapi.EXAMPLES}},
    },
}


def router(serving: Serving) -> APIRouter:
    """Return the predict routes of one server."""
    routes = APIRouter(tags=["predict"])
    errors: dict[int | str, dict[str, Json]] = {
        key: {**row, "model": answer.Failure} for key, row in work.ERRORS.items()
    }
    stream: dict[str, Json] = {
        "example": 'data: {"index":0,"text":" 42","token_ids":[29946]}\n\n'
        'data: {"finish_reason":["stop"],"usage":{}}\n\ndata: [DONE]\n\n',
    }
    success: dict[str, Json] = {"model": answer.Answer, "content": {sse.MEDIA_TYPE: stream}}

    async def handle(request: Request) -> Response:
        """Continue a prompt, a batch of prompts or a chat."""
        name = request.path_params.get("name", serving.name)
        if name != serving.name:
            raise NotFoundError(
                f"there is no model {name} here; it is {serving.name}", param="name", code="model_not_found"
            )
        return await respond(request, serving)

    for path in PATHS:
        routes.add_api_route(
            path, handle, methods=["POST"], responses={200: success, **errors}, openapi_extra=DOCS,
            response_model=None, include_in_schema=path == PATHS[0],
        )  # fmt: skip
    return routes


async def respond(request: Request, serving: Serving) -> Response:
    """Answer one predict request, whole or as a stream."""
    arrived = time.monotonic()
    deadline = work.deadline(request, arrived)
    work.check_content_type(request)
    backend = serving.open()
    asked = predict.parse(predict.decode(await request.body()), backend.info, serving.limits)
    prompts = await asyncio.to_thread(predict.encode, asked, backend)
    generation = predict.plan(asked, prompts, backend.info)
    serving.open()  # the drain may have begun while the prompt was read
    ticket = serving.lane.submit(generation, arrived=arrived, deadline=deadline, caller=work.caller(request))
    run = _Run(serving, backend, asked, ticket)
    if asked.stream:
        return await work.stream(request, ticket, run.events())
    outcome = await work.outcome(request, ticket)
    return JSONResponse(await asyncio.to_thread(run.answer, outcome))


class _Run:
    """One admitted request on its way back to the caller."""

    def __init__(self, serving: Serving, backend: Backend, asked: predict.PredictRequest, ticket: Ticket) -> None:
        self.ticket = ticket
        self._serving = serving
        self._vocabulary = backend.vocabulary
        self._pieces = Pieces(backend.vocabulary, ticket.generation)
        self._asked = asked
        self._id = request_id.get() or ""

    @property
    def _generation(self) -> Generation:
        return self.ticket.generation

    def _front(self, index: int) -> str:
        """What stands in front of an output: nothing, or the prompt as the caller wrote it."""
        if not self._asked.values["return_full_text"]:
            return ""
        number = index // self._generation.sequences
        if self._asked.prompts:
            return self._asked.prompts[number]
        return front_of(self._vocabulary, self._generation.prompts[number])

    def _ending(self, outcome: Outcome) -> answer.Ending:
        serving = self._serving
        return answer.ending(self._id, serving.source, serving.progress.commit, self._generation, outcome)

    def answer(self, outcome: Outcome) -> dict[str, Json]:
        """Return the body of the whole answer."""
        texts = [self._front(index) + text for index, text in enumerate(self._pieces.whole(outcome))]
        return answer.Answer(data=texts, **dict(self._ending(outcome))).model_dump(mode="json")

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the events of a stream.

        Raises:
            RequestError: before the first event; after it, the error is the last event.
        """
        begun: set[int] = set()
        try:
            async with aclosing(self.ticket.events()) as ticket_events:
                async for event in ticket_events:
                    for piece in self._steps(event, begun):
                        yield sse.event(piece)
        except RequestError as error:
            if not begun:
                raise
            yield sse.event(answer.failure(error), name="error")
            return
        yield sse.DONE

    def _steps(self, event: Step | Outcome, begun: set[int]) -> list[dict[str, Json]]:
        if isinstance(event, Step):
            text = self._pieces.push(event)
            if event.index not in begun:
                begun.add(event.index)
                text = self._front(event.index) + text
            return [_step(event.index, text, event.token_ids)]
        steps = [_step(index, text, ()) for index, text in enumerate(self._pieces.finish()) if text]
        return [*steps, self._ending(event).model_dump(mode="json")]


def _step(index: int, text: str, token_ids: tuple[int, ...]) -> dict[str, Json]:
    return answer.StreamStep(index=index, text=text, token_ids=list(token_ids)).model_dump()
