"""`POST /tokenize` and `POST /detokenize`, as vLLM has them: for clients that count and cut before they ask."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from llama_inference.backends.base import Backend
from llama_inference.protocol.openai import documents, tokenizing
from llama_inference.protocol.openai.request import check_model
from llama_inference.protocol.predict import decode
from llama_inference.routes import work
from llama_inference.routes.serving import Serving
from llama_inference.values import Json

Answers = Callable[[Mapping[str, Json], Backend], dict[str, Json]]
ROUTES: Final[Mapping[str, tuple[Answers, type[BaseModel], dict[str, Json]]]] = {
    "/tokenize": (tokenizing.tokenize, tokenizing.Tokenized, {"prompt": "What is the meaning of life?"}),
    "/detokenize": (tokenizing.detokenize, tokenizing.Detokenized, {"tokens": [1, 2]}),
}
ERRORS: Final = (400, 401, 404, 408, 413, 415, 503)


def router(serving: Serving) -> APIRouter:
    """Return the two routes of one server."""
    routes = APIRouter(tags=["OpenAI"])
    errors = documents.failures({status: work.ERRORS[status] for status in ERRORS})
    for path, (answers, model, example) in ROUTES.items():
        body = {"schema": tokenizing.schemas()[path], "example": example}
        routes.add_api_route(
            path, _handler(serving, answers), methods=["POST"], response_model=None,
            responses={200: {"model": model}, **errors}, operation_id=path.strip("/"),
            openapi_extra={"requestBody": {"required": True, "content": {"application/json": body}}},
            summary=(answers.__doc__ or "").partition(".")[0],
        )  # fmt: skip
    return routes


def _handler(serving: Serving, answers: Answers) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def handle(request: Request) -> JSONResponse:
        """Answered beside the engine, as soon as the model is loaded."""
        work.check_content_type(request)
        backend = serving.open()
        wire = decode(await request.body())
        if wire.get("model") is not None:
            check_model(wire, serving.name)
        return JSONResponse(await asyncio.to_thread(answers, wire, backend))

    return handle
