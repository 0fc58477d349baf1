"""A server of Text Generation Inference behind the interface of a backend: text to it, token ids back, over HTTP.

Prompts are tokenized here as well, by the same model's tokenizer: the contract counts and bounds tokens.
"""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
from transformers import AutoTokenizer, GenerationConfig

from llama_inference.backends.streaming import Chunk, StreamingBackend
from llama_inference.backends.tgi_parameters import body, failure, read
from llama_inference.backends.tokens import Tokens
from llama_inference.backends.transformers_backend import own_defaults
from llama_inference.errors import InvalidRequestError, LoadError, LoadReason, RequestError, UnavailableError
from llama_inference.values import Generation, Json, ModelInfo, Sequence

log = logging.getLogger(__name__)
CONNECT_S: Final = 5.0
UNREACHABLE_AGAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request to TGI: the body of `/generate_stream`."""

    content: dict[str, Json]


class TgiBackend(StreamingBackend):
    """One model behind a TGI server."""

    def __init__(self, folder: Path, *, url: str, max_context: int | None, rows: int) -> None:
        """Ask the server at `url` what it serves; `folder` holds the model's tokenizer.

        Raises:
            LoadError: LoadFailed while the server does not answer, or when the folder has no tokenizer.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise LoadError(LoadReason.LOAD_FAILED, f"{folder.name} has no tokenizer: {error}") from error
        super().__init__(rows=rows, name="TGI")
        self._url = url.rstrip("/")
        # A first token may take as long as the queue before it; who waits too long hangs up. Never through a proxy
        # that the environment names for the Hub.
        timeout = httpx2.Timeout(None, connect=CONNECT_S)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=rows)
        self._client = httpx2.AsyncClient(base_url=self._url, timeout=timeout, limits=limits, trust_env=False)
        try:
            served = self.loop.run(self._info())
        except LoadError:
            self.close()
            raise
        self.tokens = Tokens(tokenizer)
        own = int(served["max_total_tokens"])
        self.info = ModelInfo(
            max_context=min(own, max_context or own),
            vocabulary=len(tokenizer),
            defaults=_defaults(folder),
            has_chat_template=self.tokens.has_chat_template,
            dtype=str(served.get("model_dtype") or "tgi"),
            device=str(served.get("model_device_type") or "tgi"),
            backend="tgi",
        )
        log.info("TGI answers", extra={"url": self._url, "model": served["model_id"], "version": served["version"]})

    async def _info(self) -> dict[str, Json]:
        try:
            (await self._client.get("/health", timeout=CONNECT_S)).raise_for_status()
            answer = await self._client.get("/info", timeout=CONNECT_S)
            answer.raise_for_status()
            return answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            message = f"the TGI server at {self._url} is not ready: {error or type(error).__name__}"
            raise LoadError(LoadReason.LOAD_FAILED, message) from error

    def call(self, generation: Generation, prompt: tuple[int, ...], seed: int) -> Call:
        """Return the request for one sequence."""
        return Call(body(generation, prompt, self._text(prompt), seed))

    def _text(self, prompt: tuple[int, ...]) -> str:
        """Return the text that TGI will tokenize into these ids; it adds the start token itself.

        Raises:
            InvalidRequestError: there is no such text.
        """
        text = self.tokens.written(prompt)
        for candidate in (text.removeprefix(self.tokens.start), text):
            if tuple(self.tokens.encode(candidate, special=True)) == prompt:
                return candidate
        message = "this prompt cannot be put to TGI as text without changing its tokens: the native backend can take it"
        raise InvalidRequestError(message, param="prompt")

    async def stream(self, call: Call) -> AsyncGenerator[Chunk]:
        """Run one request; closing the stream ends it at TGI."""
        tokens: list[int] = []
        try:
            async with self._client.stream("POST", "/generate_stream", json=call.content) as answer:
                if answer.status_code != 200:
                    raise await _refused(answer)
                async for line in answer.aiter_lines():
                    if (token := read(line)) is None:
                        continue
                    tokens.append(token.id)
                    done = None if token.reason is None else (Sequence(tuple(tokens), token.reason),)
                    yield Chunk((token.id,), done)
                    if done is not None:
                        return
        except httpx2.TransportError as error:
            log.warning("TGI does not answer", extra={"url": self._url, "detail": str(error) or type(error).__name__})
            raise self._unreachable("it does not answer") from error
        raise self._unreachable("it ended the stream before the output")

    def _unreachable(self, why: str) -> UnavailableError:
        message = f"the TGI server at {self._url} cannot be reached: {why}"
        return UnavailableError(message, code="engine_unreachable", retry_after=UNREACHABLE_AGAIN_S)

    def close(self) -> None:
        """End the connections."""
        self.loop.run(self._client.aclose())
        self.loop.stop()


def hand_over(folder: Path, link: Path) -> None:
    """Let `link` name the model's folder, for the TGI server that waits for it."""
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(folder.resolve())


def _defaults(folder: Path) -> dict[str, Json]:
    try:
        return dict(own_defaults(GenerationConfig.from_pretrained(folder, local_files_only=True)))
    except OSError:
        return {}


async def _refused(answer: httpx2.Response) -> RequestError:
    content = await answer.aread()
    try:
        return failure(answer.status_code, json.loads(content))
    except ValueError:
        return failure(answer.status_code, content.decode(errors="replace"))
