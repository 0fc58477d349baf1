"""`POST /predict` and its aliases: HTTP → protocol → scheduler → stream."""

import asyncio
import time
from collections.abc import AsyncGenerator
from collections.abc import Sequence as Seq
from contextlib import aclosing
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from llama_inference.backends.base import Backend
from llama_inference.errors import NotFoundError, RequestError
from llama_inference.logs import request_id
from llama_inference.protocol import answer as answers
from llama_inference.protocol import openapi, predict
from llama_inference.routes import work
from llama_inference.routes.serving import Serving
from llama_inference.scheduler.ticket import Ticket
from llama_inference.stream import sse
from llama_inference.stream.pieces import Pieces
from llama_inference.text.decoding import front_of
from llama_inference.values import Generation, Json, Logprob, Outcome, Step

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
        key: {**row, "model": answers.Failure} for key, row in work.ERRORS.items()
    }
    stream: dict[str, Json] = {
        "example": 'data: {"index":0,"text":" 42","token_ids":[29946]}\n\n'
        'data: {"finish_reason":["stop"],"usage":{}}\n\ndata: [DONE]\n\n',
    }
    success: dict[str, Json] = {"model": answers.Answer, "content": {sse.MEDIA_TYPE: stream}}

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
    planned = predict.plan(asked, prompts, backend.info)
    generation = await work.prepared(request, serving, backend, planned, deadline)
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

    def _ending(self, outcome: Outcome) -> answers.Ending:
        serving = self._serving
        return answers.ending(self._id, serving.source, serving.progress.commit, self._generation, outcome)

    def answer(self, outcome: Outcome) -> dict[str, Json]:
        """Return the body of the whole answer."""
        texts = [self._front(index) + text for index, text in enumerate(self._pieces.whole(outcome))]
        body = answers.Answer(data=texts, **dict(self._ending(outcome)), logprobs=self._told(outcome))
        return body.model_dump(mode="json", exclude=None if body.logprobs else {"logprobs"})

    def _told(self, outcome: Outcome) -> list[answers.Logprobs] | None:
        if self._generation.logprobs is None:
            return None
        return [
            answers.Logprobs(
                tokens=answers.told(self._vocabulary.literal, sequence.token_ids, sequence.logprobs),
                prompt=self._prompt_told(index, sequence.prompt_logprobs),
            )
            for index, sequence in enumerate(outcome.sequences)
        ]

    def _prompt(self, index: int) -> tuple[int, ...]:
        return self._generation.prompts[index // self._generation.sequences]

    def _prompt_told(self, index: int, logprobs: Seq[Logprob]) -> list[answers.ToldToken] | None:
        if self._generation.prompt_logprobs is None:
            return None
        return answers.told(self._vocabulary.literal, self._prompt(index), (None, *logprobs))

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
            yield sse.event(answers.failure(error), name="error")
            return
        yield sse.DONE

    def _steps(self, event: Step | Outcome, begun: set[int]) -> list[dict[str, Json]]:
        if isinstance(event, Step):
            step = answers.StreamStep(index=event.index, text=self._pieces.push(event), token_ids=list(event.token_ids))
            if self._generation.logprobs is not None:
                step.logprobs = answers.told(self._vocabulary.literal, event.token_ids, event.logprobs)
            if event.index not in begun:
                begun.add(event.index)
                step.text = self._front(event.index) + step.text
                step.prompt_logprobs = self._prompt_told(event.index, event.prompt_logprobs)
            return [_shown(step)]
        steps = [
            _shown(answers.StreamStep(index=index, text=text, token_ids=[]))
            for index, text in enumerate(self._pieces.finish())
            if text
        ]
        return [*steps, self._ending(event).model_dump(mode="json")]


def _shown(step: answers.StreamStep) -> dict[str, Json]:
    asked = {"index", "text", "token_ids", *(("logprobs",) if step.logprobs is not None else ())}
    return step.model_dump(include=asked | ({"prompt_logprobs"} if step.prompt_logprobs is not None else set()))
