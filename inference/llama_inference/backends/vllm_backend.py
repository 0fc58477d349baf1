"""vLLM in this process: its asynchronous engine behind the interface of a backend.

Imported only when chosen: the default image has no vLLM. Tested with a real one by `make vllm`.
"""

import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from llama_inference.backends.streaming import Chunk, StreamingBackend
from llama_inference.backends.tokens import Tokens
from llama_inference.backends.transformers_backend import own_defaults
from llama_inference.backends.vllm_parameters import Call, call
from llama_inference.engine.device import choose_dtype, has_native_bf16
from llama_inference.errors import (
    EngineLostError,
    InferenceError,
    InternalError,
    InvalidRequestError,
    LoadError,
    LoadReason,
)
from llama_inference.values import FinishReason, Generation, Json, ModelInfo, Sequence

# vLLM would report its use to its makers, and tell more in its log than anybody asks.
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

log = logging.getLogger(__name__)
EMPTY: Final[Mapping[str, Json]] = {}
REASONS: Final = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
MISSING: Final = (
    "this image has no vLLM: name one in spec.engine.image that has vLLM and llama-inference (docs/backends.md)"
)


class VllmBackend(StreamingBackend):
    """One model in vLLM's engine."""

    def __init__(
        self, folder: Path, *, dtype: str, max_context: int | None, rows: int, arguments: Mapping[str, Json] = EMPTY
    ) -> None:
        """Load the model of a folder; `max_context` lowers what its configuration allows.

        Args: arguments are more fields of `AsyncEngineArgs`; they win.

        Raises:
            LoadError: LoadFailed when there is no vLLM, or with what it says.
        """
        self._inputs, self._kinds = _module("vllm.inputs"), _module("vllm.sampling_params")
        self._refusals: Any = (ValueError, TypeError, _module("vllm.exceptions").VLLMClientError)
        super().__init__(rows=rows, name="vLLM")
        try:
            # On its own loop: the engine's tasks belong to the loop that it is made on.
            chosen = choose_dtype(dtype, gpu=torch.cuda.is_available(), native_bf16=has_native_bf16())
            given = {"dtype": chosen, "max_model_len": max_context, "max_num_seqs": rows, **arguments}
            self._engine: Any = self.loop.run(_open(folder, given))
            self.tokens = Tokens(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        except Exception as error:
            self.loop.stop()
            log.exception("vLLM cannot load the model")
            lines = str(error).strip().splitlines()
            summary = f"{type(error).__name__}: {lines[0] if lines else ''}"
            message = f"vLLM cannot load the model ({summary}): the log has more"
            raise LoadError(LoadReason.LOAD_FAILED, message) from error
        config = self._engine.model_config
        self.info = ModelInfo(
            max_context=config.max_model_len,
            vocabulary=config.get_vocab_size(),
            defaults=own_defaults(_generation_config(folder)),
            has_chat_template=self.tokens.has_chat_template,
            dtype=str(config.dtype).removeprefix("torch."),
            device=f"cuda:0-{torch.cuda.device_count() - 1}" if torch.cuda.is_available() else "cpu",
            backend="vllm",
        )

    def call(self, generation: Generation, prompt: tuple[int, ...], seed: int) -> Call:
        """Return what to ask of vLLM; what it refuses, it refuses now."""
        asked = call(generation, prompt, seed)
        try:
            if asked.sampling is not None:
                self._sampling(asked)
        except self._refusals as error:
            raise InvalidRequestError(f"vLLM refuses this combination of parameters: {error}") from error
        return asked

    def _sampling(self, asked: Call) -> Any:  # noqa: ANN401 - vLLM is not there when types are checked
        kind = self._kinds.RequestOutputKind.DELTA
        return self._kinds.SamplingParams(**(asked.sampling or {}), output_kind=kind)

    async def stream(self, call: Call) -> AsyncGenerator[Chunk]:
        """Run one call of `call`; see `StreamingBackend.stream`."""
        try:
            if call.beams is not None:
                yield await self._search(call)
                return
            prompt = self._inputs.tokens_input(list(call.prompt))
            tokens: list[int] = []
            # Closed at once, not when it is collected: that is what ends the request in the engine.
            async with aclosing(self._engine.generate(prompt, self._sampling(call), uuid4().hex)) as outputs:
                async for output in outputs:
                    fresh = output.outputs[0]
                    tokens += fresh.token_ids
                    done = (Sequence(tuple(tokens), _reason(fresh)),) if output.finished else None
                    yield Chunk(tuple(fresh.token_ids), done)
        except InferenceError:
            raise
        except Exception as error:
            raise self._told(error) from error

    async def _search(self, call: Call) -> Chunk:
        mixin = _module("vllm.entrypoints.generate.beam_search.online").BeamSearchOnlineMixin
        search: Any = type("Search", (mixin,), {})()
        search.renderer, search.engine_client = self._engine.renderer, self._engine
        params = self._kinds.BeamSearchParams(**(call.beams or {}))
        prompt = self._inputs.tokens_input(list(call.prompt))
        found: list[Any] = []
        async for output in search.beam_search(prompt, uuid4().hex, params):
            found = output.outputs[: call.returned]
        return Chunk(done=tuple(Sequence(tuple(row.token_ids), _reason(row)) for row in found))

    def _told(self, error: Exception) -> Exception:
        """Turn what vLLM raises into what a caller is told."""
        if self._engine.errored:
            return EngineLostError(f"vLLM's engine ended: {error}")
        if isinstance(error, self._refusals):
            return InvalidRequestError(f"vLLM refuses this request: {error}")
        return error

    def close(self) -> None:
        """End the engine's processes."""
        self._engine.shutdown()
        self.loop.stop()


def _module(name: str) -> Any:  # noqa: ANN401 - vLLM is not there when types are checked
    try:
        return import_module(name)
    except ImportError as error:
        raise LoadError(LoadReason.LOAD_FAILED, f"{MISSING}; {error}") from error


async def _open(folder: Path, given: Mapping[str, Json]) -> object:
    own: dict[str, Json] = {
        "model": str(folder),
        "tensor_parallel_size": torch.cuda.device_count() or 1,
        "max_logprobs": 64,  # a beam search asks for twice its beams
        "disable_log_stats": True,
        "enable_log_requests": False,
    }
    arguments = _module("vllm.engine.arg_utils").AsyncEngineArgs(**{**own, **given})
    return _module("vllm.v1.engine.async_llm").AsyncLLM.from_engine_args(arguments)


def _generation_config(folder: Path) -> GenerationConfig:
    """What the model's own files say of generation."""
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, local_files_only=True))


def _reason(output: Any) -> FinishReason:  # noqa: ANN401 - vLLM is not there when types are checked
    """Why an output ended.

    Raises:
        InternalError: vLLM gave it up.
    """
    reason = REASONS.get(output.finish_reason)
    if reason is None:
        raise InternalError(f"vLLM ended the generation: {output.finish_reason}; the log has more")
    return reason
