"""OpenAI's routes: `/v1/chat/completions`, `/v1/completions` and `/v1/models`, in its shapes."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from llama_inference.backends.base import Backend
from llama_inference.errors import MethodNotAllowedError, NotFoundError, RequestError
from llama_inference.logs import request_id
from llama_inference.protocol.openai import answers, documents
from llama_inference.protocol.openai.answers import Head
from llama_inference.protocol.openai.fields import Endpoint
from llama_inference.protocol.openai.inputs import Prompt
from llama_inference.protocol.openai.request import OpenAIRequest, check_model, encode, parse, plan
from llama_inference.protocol.predict import decode
from llama_inference.routes import work
from llama_inference.routes.openai_logprobs import Logprobs
from llama_inference.routes.serving import Serving
from llama_inference.scheduler.ticket import Ticket
from llama_inference.stream import sse
from llama_inference.stream.pieces import Pieces
from llama_inference.text.decoding import front_of
from llama_inference.values import Json, Outcome, Step

PATHS: Final = {"/v1/chat/completions": Endpoint.CHAT, "/v1/completions": Endpoint.COMPLETION}


def router(serving: Serving) -> APIRouter:
    """Return OpenAI's routes of one server."""
    routes = APIRouter(tags=["OpenAI"])
    began = int(time.time())
    for path, endpoint in PATHS.items():
        routes.add_api_route(
            path, _handler(serving, endpoint), methods=["POST"], response_model=None,
            responses=documents.responses(endpoint, work.ERRORS),
            openapi_extra=documents.request(endpoint, work.TIMEOUT_DOCS),
            summary=documents.SUMMARIES[endpoint], operation_id=endpoint.value.replace(".", "_"),
        )  # fmt: skip

    def this() -> dict[str, Json]:
        max_context = None if serving.backend is None else serving.backend.info.max_context
        return answers.model(serving.name, began, source=serving.source, max_context=max_context)

    @routes.get("/v1/models", responses={200: {"model": documents.Models}, **documents.failures(_of(401, 403))})
    async def models() -> JSONResponse:  # pyright: ignore[reportUnusedFunction] - FastAPI keeps it
        """The one model that is served, also while it loads."""
        return JSONResponse({"object": "list", "data": [this()]})

    @routes.get(
        "/v1/models/{name:path}", responses={200: {"model": documents.Model}, **documents.failures(_of(401, 403, 404))}
    )
    async def model(request: Request, name: str) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """The model of this name."""
        if name.endswith((":predict", "/predict")):  # the same path takes predict's requests
            raise MethodNotAllowedError(f"{request.url.path} takes POST, not GET", allow="POST")
        if name != serving.name:
            message = f"there is no model {name[:200]} here; it is {serving.name}"
            raise NotFoundError(message, param="model", code="model_not_found")
        return JSONResponse(this())

    return routes


def _of(*statuses: int) -> dict[int | str, dict[str, Json]]:
    return {status: work.ERRORS[status] for status in statuses}


def _handler(serving: Serving, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return await respond(request, serving, endpoint)

    handle.__doc__ = documents.DESCRIPTIONS[endpoint]
    return handle


async def respond(request: Request, serving: Serving, endpoint: Endpoint) -> Response:
    """Answer one request, whole or as a stream."""
    arrived = time.monotonic()
    deadline = work.deadline(request, arrived)
    work.check_content_type(request)
    backend = serving.open()
    wire = decode(await request.body())
    check_model(wire, serving.name)
    asked = parse(wire, endpoint, backend.info, serving.limits)
    prompts = await asyncio.to_thread(encode, asked, backend)
    generation = await work.prepared(request, serving, backend, plan(asked, prompts), deadline)
    serving.open()  # the drain may have begun while the prompt was read
    ticket = serving.lane.submit(generation, arrived=arrived, deadline=deadline, caller=work.caller(request))
    head = Head(
        endpoint=endpoint,
        request_id=request_id.get() or "",
        created=int(time.time()),
        model=serving.name,
        revision=serving.progress.commit,
        include_usage=asked.include_usage,
    )
    run = _Run(backend, asked, ticket, head)
    if asked.stream:
        return await work.stream(request, ticket, run.events())
    outcome = await work.outcome(request, ticket)
    return JSONResponse(await asyncio.to_thread(run.answer, outcome))


class _Run:
    """One admitted request on its way back to the caller."""

    def __init__(self, backend: Backend, asked: OpenAIRequest, ticket: Ticket, head: Head) -> None:
        self._asked = asked
        self._ticket = ticket
        self._head = head
        self._vocabulary = backend.vocabulary
        self._pieces = Pieces(backend.vocabulary, ticket.generation, asked.cut, after=asked.cut_after)
        self._logprobs = Logprobs(backend.vocabulary, ticket.generation, head.endpoint)
        self._begun: set[int] = set()
        self._fronts: dict[Prompt, str] = {}
        self._told = 0  # tokens of the output so far

    def _usage(self, completion: int) -> dict[str, Json]:
        return answers.usage(self._ticket.generation, completion, copies=self._asked.copies)

    def _front(self, index: int) -> str:
        """What stands in front of an output: nothing, or the prompt as the caller wrote it."""
        if not self._asked.echo:
            return ""
        prompt = self._asked.prompts[index // (self._ticket.generation.sequences * self._asked.copies)]
        if isinstance(prompt, str):
            return prompt
        if prompt not in self._fronts:  # asked for at each step
            self._fronts[prompt] = front_of(self._vocabulary, prompt)
        return self._fronts[prompt]

    def answer(self, outcome: Outcome) -> dict[str, Json]:
        """Return the body of the whole answer."""
        outcome = self._asked.answered(outcome)
        texts = self._pieces.whole(outcome)
        fronts = [self._front(index) for index in range(len(texts))]
        for index, sequence in enumerate(outcome.sequences):
            self._logprobs.push(index, sequence)
        told = [self._logprobs.whole(index, text, front=len(fronts[index])) for index, text in enumerate(texts)]
        whole = [front + text for front, text in zip(fronts, texts, strict=True)]
        reasons = answers.reasons(outcome)
        return self._head.whole(whole, reasons, self._usage(_tokens(outcome)), told)

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the events of a stream.

        Raises:
            RequestError: before the first event; after it, the error is the last event.
        """
        sent = False
        try:
            async with aclosing(self._ticket.events()) as ticket_events:
                async for event in ticket_events:
                    for chunk in self._step(event) if isinstance(event, Step) else self._end(event):
                        sent = True
                        if self._asked.continuous_usage and chunk["choices"]:
                            chunk["usage"] = self._usage(self._told)
                        yield sse.event(chunk)
        except RequestError as error:
            if not sent:
                raise
            yield sse.event(answers.failure(error))
            return
        yield sse.DONE

    def _step(self, step: Step) -> list[dict[str, Json]]:
        step = self._asked.taken(step)
        self._logprobs.push(step.index, step)
        self._told += len(step.token_ids)
        return self._chunks(step.index, self._pieces.push(step))

    def _chunks(self, index: int, text: str) -> list[dict[str, Json]]:
        """The chunks of new text, with what stands in front of it the first time; a piece without text is not sent."""
        chunks: list[dict[str, Json]] = []
        front = self._front(index)
        logprobs = self._logprobs.beside(index, text, front=len(front))
        if index not in self._begun:
            self._begun.add(index)
            text = front + text
            if (opening := self._head.opening(index)) is not None:
                chunks.append(opening)
        return [*chunks, self._head.piece(index, text, logprobs)] if text else chunks

    def _end(self, outcome: Outcome) -> list[dict[str, Json]]:
        chunks: list[dict[str, Json]] = []
        outcome = self._asked.answered(outcome)
        rests = self._pieces.finish()
        for index, reason in enumerate(answers.reasons(outcome)):
            chunks += self._chunks(index, rests[index])
            logprobs = self._logprobs.closing(index, front=len(self._front(index)))
            chunks.append(self._head.closing(index, reason, logprobs))
        if self._head.include_usage:
            chunks.append(self._head.counted(self._usage(_tokens(outcome))))
        return chunks


def _tokens(outcome: Outcome) -> int:
    return sum(len(sequence.token_ids) for sequence in outcome.sequences)
