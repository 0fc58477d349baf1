"""The first backend: transformers' `generate`, one prompt at a time, so that its tokens are exactly transformers' own.

Runs on the engine thread. What a request may set has been checked by `protocol`; what only the model can tell
(contradictions that transformers finds, scores that leave nothing to choose) becomes an `InvalidRequestError` here.
"""

import logging
import secrets
import time
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import Any, Final

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from llama_inference.backends.base import Control
from llama_inference.backends.grammars import Grammars
from llama_inference.backends.guiding import GuidedScores
from llama_inference.backends.refusals import refusal
from llama_inference.backends.scoring import scored
from llama_inference.backends.tokens import Tokens
from llama_inference.backends.watch import CountedPenalties, FiniteScores, Watch
from llama_inference.engine.native.parameters import OPENAI
from llama_inference.engine.weights import Loaded
from llama_inference.errors import EngineLostError, InternalError, InvalidRequestError, LoadError, LoadReason
from llama_inference.text.stops import stops_of
from llama_inference.values import FinishReason, Generation, Json, ModelInfo, Sequence

log = logging.getLogger(__name__)
LENGTHS: Final = frozenset({"max_length", "max_new_tokens"})  # the contract's own bounds stand in their place
UNBOUNDED_CONTEXT: Final = 4096  # for a model whose configuration does not say


class TransformersBackend:
    """One model of transformers."""

    def __init__(self, loaded: Loaded, *, max_context: int | None) -> None:
        """`max_context` lowers what the model's configuration allows."""
        self._model = loaded.model
        self._tokens = Tokens(loaded.tokenizer, vocabulary=loaded.model.get_input_embeddings().weight.shape[0])
        self.grammars = Grammars(self._tokens)
        self.vocabulary = self._tokens.vocabulary
        own = getattr(loaded.model.config, "max_position_embeddings", None) or UNBOUNDED_CONTEXT
        self.info = ModelInfo(
            max_context=min(own, max_context or own),
            vocabulary=loaded.model.get_input_embeddings().weight.shape[0],
            defaults=own_defaults(loaded.model.generation_config),
            has_chat_template=self._tokens.has_chat_template,
            dtype=loaded.dtype,
            device=loaded.device,
            backend="transformers",
            batch_invariant=True,  # nothing else is computed meanwhile
        )
        # From here on the model has no defaults of its own: every request carries all that counts.
        loaded.model.generation_config = GenerationConfig()

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return token ids; `special` adds the model's start token where it has one."""
        return self._tokens.encode(text, special=special)

    def render(self, messages: Seq[dict[str, str]], **how: Json) -> str:
        """Return the prompt for a chat, by the model's own template."""
        return self._tokens.render(messages, **how)

    def prepared(self, generation: Generation) -> bool:
        """Whether its grammar is known; see `backends.base.Prepares`."""
        return self.grammars.prepared(generation)

    def prepare(self, generation: Generation) -> Generation:
        """Return the request with its grammar; see `backends.base.Prepares`."""
        return self.grammars.prepare(generation)

    def check(self, generation: Generation) -> None:
        """Refuse what cannot be computed so, or not on this device; see `backends.base.Checks`."""
        if generation.parameters.get("cache_implementation") == "offloaded" and "cuda" not in self.info.device:
            message = (
                f"cache_implementation offloaded needs a GPU to move keys and values from; this is {self.info.device}"
            )
            raise InvalidRequestError(message, param="cache_implementation")
        if generation.streamed and generation.logprobs is not None:
            message = (
                "log-probabilities are told at the end of an output that transformers generates: leave out stream, or "
                "what keeps the request from the native engine's batch"
            )
            raise InvalidRequestError(message, code="unsupported_parameter", param="stream")

    def generate(self, generation: Generation, control: Control) -> list[Sequence]:
        """Run each prompt alone, in order; see `backends.base.Backend`."""
        self.check(generation)
        began = time.monotonic()
        # Without a seed of its own a request gets a fresh one: replicas start with the same state of torch's.
        seed = secrets.randbits(63) if generation.seed is None else generation.seed
        try:
            results: list[Sequence] = []
            for number, prompt in enumerate(generation.prompts):
                torch.manual_seed((seed + number) % 2**63)
                left = None if generation.max_time is None else generation.max_time - (time.monotonic() - began)
                guided = self._guided(generation, prompt)
                watch = self._watch(generation, control, number, left, guided)
                results += [
                    scored(self._model, generation, prompt, each)
                    for each in self._one(generation, prompt, watch, guided)
                ]
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            message = (
                "the device has too little memory for this request: lower num_beams, num_return_sequences or lengths"
            )
            raise InternalError(message, code="out_of_memory") from None
        except torch.AcceleratorError as error:
            raise EngineLostError(f"the device failed: {error}") from error
        except (ValueError, TypeError, OverflowError) as error:
            raise refusal("transformers refuses this combination of parameters", error) from error
        return results

    def _watch(
        self, generation: Generation, control: Control, number: int, left: float | None, guided: GuidedScores | None
    ) -> Watch:
        return Watch(
            control,
            prompt=generation.prompts[number],
            first_index=number * generation.sequences,
            rows=generation.sequences if generation.parameters.get("num_beams", 1) == 1 else 0,
            streamed=generation.streamed,
            ends=_ids(generation.parameters.get("eos_token_id")),
            stops=stops_of(generation, self.vocabulary),
            seconds=left,
            guided=guided,
        )

    def _one(
        self, generation: Generation, prompt: tuple[int, ...], watch: Watch, guided: GuidedScores | None
    ) -> list[Sequence]:
        given = {name: value for name, value in generation.parameters.items() if name not in OPENAI and value != []}
        config = GenerationConfig(
            **given,
            max_length=generation.length(len(prompt)),
            return_dict_in_generate=True,
            disable_compile=True,  # a request must not start a compiler
        )
        if config.pad_token_id is None:
            ends = _ids(config.eos_token_id)
            config.pad_token_id = min(ends) if ends else 0
        inputs = torch.tensor([prompt], device=self._model.get_input_embeddings().weight.device)
        with torch.inference_mode():
            output = self._model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                generation_config=config,
                logits_processor=LogitsProcessorList(
                    [*_penalties(generation, len(prompt)), *([] if guided is None else [guided]), FiniteScores()]
                ),
                stopping_criteria=StoppingCriteriaList([watch]),
            )
        rows: list[list[int]] = output.sequences[:, len(prompt) :].tolist()
        return [
            self._sequence(row, length, watch) for row, length in zip(rows, _lengths(output, rows, watch), strict=True)
        ]

    def _guided(self, generation: Generation, prompt: tuple[int, ...]) -> GuidedScores | None:
        grammar = self.grammars.of(generation)
        if grammar is None:
            return None
        ends = tuple(sorted(_ids(generation.parameters.get("eos_token_id"))))
        beams = generation.parameters.get("num_beams", 1)
        if beams > 1 and not ends:
            message = f"num_beams is {beams}, but beams that are held to a grammar need an end token: set it to 1"
            raise InvalidRequestError(message, param="num_beams")
        plain = frozenset(token for token in ends if not self.vocabulary.hidden(token))
        return GuidedScores(grammar, len(prompt), ends, eos=self.grammars.eos, plain=plain)

    def _sequence(self, row: list[int], length: int, watch: Watch) -> Sequence:
        tokens = tuple(row[:length])
        if watch.ended(tokens):
            return Sequence(tokens, FinishReason.STOP)
        return Sequence(tokens, FinishReason.TIME if watch.timed_out else FinishReason.LENGTH)

    def warm_up(self) -> None:
        """Run a few greedy steps.

        Raises:
            LoadError: LoadFailed when the model cannot take a step.
        """
        prompt = tuple(self.encode("The", special=True)) or (0,)
        warming = Generation(
            prompts=(prompt,),
            max_tokens=min(self.info.max_context, len(prompt) + 4),
            parameters={"do_sample": False, "num_beams": 1},
        )
        try:
            self.generate(warming, _Unwatched())
        except (InvalidRequestError, InternalError, RuntimeError) as error:
            raise LoadError(LoadReason.LOAD_FAILED, f"the model cannot take a step: {error}") from error


class _Unwatched:
    """The control of a generation that nobody streams and nobody gives up."""

    def step(self, steps: Seq[object]) -> None:
        """Nothing to do."""


def own_defaults(config: GenerationConfig) -> Mapping[str, Json]:
    """What `generation_config.json` sets, but for lengths."""
    values: dict[str, Any] = config.to_diff_dict()
    return {name: value for name, value in values.items() if value is not None and name not in LENGTHS}


def _penalties(generation: Generation, prompt: int) -> list[CountedPenalties]:
    frequency, presence = (generation.parameters.get(f"{name}_penalty") or 0.0 for name in ("frequency", "presence"))
    return [CountedPenalties(prompt, frequency=frequency, presence=presence)] if frequency or presence else []


def _ids(value: Json) -> frozenset[int]:
    return frozenset() if value is None else frozenset(value if isinstance(value, list) else [value])


def _lengths(output: object, rows: list[list[int]], watch: Watch) -> list[int]:
    """How many tokens of each row are output; what follows is padding."""
    beams = getattr(output, "beam_indices", None)
    if beams is not None:  # -1 where a beam has no token
        return [int(count) for count in (beams >= 0).sum(dim=1)]
    return [watch.lengths.get(index, len(row)) for index, row in enumerate(rows)]
