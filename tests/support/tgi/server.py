"""The stand-in itself: `/health`, `/info` and `/generate_stream` on a free port, with a tokenizer and no model.

It needs nothing of these tests, so that it can stand for TGI in a pod as well.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from itertools import cycle, islice
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Check = Callable[[object], str | None]

WORDS = "A llama grazes on the Altiplano — 🦙 — and spits. "
STOPS_AT_MOST = 4
# What TGI's own validation adds to its description: name → (above, below).
BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (0, float("inf")),
    "top_p": (0, 1),
    "typical_p": (0, 1),
    "top_k": (0, float("inf")),
    "repetition_penalty": (0, float("inf")),
    "max_new_tokens": (0, float("inf")),
    "seed": (0, float("inf")),
    "frequency_penalty": (-2.001, 2.001),
}


def unchecked(_: object) -> str | None:
    """Find nothing wrong."""
    return None


class _Listener(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._listening = started
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._listening.set()


class TgiServer:
    """A server to talk to, and the faults that a test gives it.

    Attributes:
        requests: what was asked, as it came.
        prompts: the token ids that its tokenizer made of them.
        streams: outputs under way.
        ready: whether `/health` says so.
        refuses: (status, error, error_type) of the next requests.
        fails_after, cuts_after: tokens after which an output ends with an error, or without an end.
        held: outputs stop before this many tokens, until `release`.
        pace: seconds from token to token.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_total_tokens: int = 200,
        port: int = 0,
        request: Check = unchecked,
        event: Check = unchecked,
    ) -> None:
        """`request` and `event` say what is wrong with a request to `/generate_stream`, and with an event of it."""
        self._tokenizer = tokenizer
        self._total = max_total_tokens
        self._request, self._event = request, event
        self.requests: list[dict[str, Any]] = []
        self.prompts: list[list[int]] = []
        self.streams = 0
        self.ready = True
        self.refuses: tuple[int, str, str] | None = None
        self.fails_after: int | None = None
        self.cuts_after: int | None = None
        self.held: int | None = None
        self.pace = 0.0
        self._released = asyncio.Event()
        routes = [
            Route("/health", self._health),
            Route("/info", self._info),
            Route("/generate_stream", self._generate, methods=["POST"]),
            Route("/", self._compatible, methods=["POST"]),  # where TGI's own client asks
        ]
        self._started = threading.Event()

        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=port, log_config=None, access_log=False
        )
        self._server = _Listener(config, self._started)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    def release(self) -> None:
        """Let held outputs go on."""
        assert self._server.loop is not None
        self._server.loop.call_soon_threadsafe(self._released.set)

    def words(self, tokens: int) -> list[int]:
        """The first token ids of every output."""
        ids = self._tokenizer(WORDS, add_special_tokens=False)["input_ids"]
        return list(islice(cycle(ids), tokens))

    async def _health(self, _: Request) -> Response:
        return Response() if self.ready else _error(503, "unhealthy", "healthcheck")

    async def _info(self, _: Request) -> Response:
        return JSONResponse(
            {
                "model_id": "llama-operator/tiny-llama", "model_sha": None, "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": 128, "max_best_of": 2, "max_stop_sequences": STOPS_AT_MOST,
                "max_input_tokens": self._total - 1, "max_total_tokens": self._total, "validation_workers": 2,
                "max_client_batch_size": 4, "router": "text-generation-router", "version": "3.3.6", "sha": None,
                "docker_label": None,
            }
        )  # fmt: skip

    async def _compatible(self, request: Request) -> Response:
        asked: dict[str, Any] = json.loads(await request.body())
        assert asked.pop("stream") is True, "answers that are no streams are not stood in for"
        return self._answer(asked)

    async def _generate(self, request: Request) -> Response:
        return self._answer(json.loads(await request.body()))

    def _answer(self, asked: dict[str, Any]) -> Response:
        if self.refuses is not None:
            return _error(*self.refuses)
        ids: list[int] = self._tokenizer(asked.get("inputs", ""))["input_ids"]
        wrong = self._request(asked) or self._invalid(asked.get("parameters") or {}, len(ids))
        if wrong is not None:
            return _error(422, f"Input validation error: {wrong}", "validation")
        self.requests.append(asked)
        self.prompts.append(ids)
        return StreamingResponse(self._events(asked["parameters"], len(ids)), media_type="text/event-stream")

    def _invalid(self, parameters: Mapping[str, Any], tokens: int) -> str | None:
        for name, (above, below) in BOUNDS.items():
            value = parameters.get(name)
            if value is not None and not above < value < below:
                return f"`{name}` must be > {above} and < {below}"
        if len(parameters.get("stop") or ()) > STOPS_AT_MOST:
            return f"`stop` supports up to {STOPS_AT_MOST} stop sequences"
        if tokens + parameters["max_new_tokens"] > self._total:
            return f"`inputs` tokens + `max_new_tokens` must be <= {self._total}"
        return None

    async def _events(self, parameters: Mapping[str, Any], prompt: int) -> AsyncGenerator[str]:
        self.streams += 1
        try:
            ids = self.words(parameters["max_new_tokens"])
            text = ""
            for index, token in enumerate(ids, 1):
                if self.held is not None and index > self.held:
                    await self._released.wait()
                if self.fails_after is not None and index > self.fails_after:
                    yield _data({"error": "Request failed during generation: CUDA error", "error_type": "generation"})
                    return
                if self.cuts_after is not None and index > self.cuts_after:
                    return
                piece = self._tokenizer.decode([token])
                text += piece
                stopped = any(stop in text for stop in parameters.get("stop") or ())
                reason = "stop_sequence" if stopped else "length" if index == len(ids) else None
                details = {"finish_reason": reason, "generated_tokens": index, "input_length": prompt, "seed": None}
                yield self._checked(
                    {
                        "index": index,
                        "token": {"id": token, "text": piece, "logprob": -0.5, "special": False},
                        "generated_text": text if reason else None,
                        "details": details if reason else None,
                    }
                )
                if reason:
                    return
                await asyncio.sleep(self.pace)
        finally:
            self.streams -= 1

    def _checked(self, event: dict[str, Any]) -> str:
        """Write an event, after a look into the description."""
        wrong = self._event(event)
        assert wrong is None, wrong
        return _data(event)


def _data(event: Mapping[str, Any]) -> str:
    return f"data:{json.dumps(event)}\n\n"


def _error(status: int, error: str, kind: str) -> Response:
    return JSONResponse({"error": error, "error_type": kind}, status)
