"""The native backend: requests as jobs of the native engine, and transformers' `generate` for what it does not cover.

`scheduler` runs the jobs in its batch; `generate` is the exclusive way, one request at a time.
"""

import secrets
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import Final, Protocol

import torch

from llama_inference.backends.base import Control
from llama_inference.backends.batching import Capacity, PlannedJob
from llama_inference.backends.grammars import Grammars
from llama_inference.backends.refusals import refusal
from llama_inference.backends.transformers_backend import TransformersBackend
from llama_inference.engine.clock import Clock
from llama_inference.engine.device import free_memory
from llama_inference.engine.native import parameters
from llama_inference.engine.native.architecture import Pretrained, covers_model
from llama_inference.engine.native.engine import Engine
from llama_inference.engine.native.jobs import JobSpec
from llama_inference.engine.weights import Loaded
from llama_inference.errors import EngineLostError, InternalError, InvalidRequestError, LoadError, LoadReason
from llama_inference.text.stops import stops_of
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Generation, Json, KvUsage, Sequence

SHARE_OF_MEMORY: Final = 0.5  # of what is free after the weights; the rest is for activations and the other way
MOST_ENTRIES: Final = 1 << 20
# Tokens of prompts read in a step beside those that decode: a GPU's step hardly grows by them, a CPU's does.
READ_AT_ONCE: Final = {True: 2048, False: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBudgets:
    """What a deployment sets of the batch: rows, and, where not left to the machine, tokens of a step and entries."""

    rows: int
    tokens: int | None = None
    entries: int | None = None


def plan_jobs(
    generation: Generation, model: Pretrained, vocabulary: Vocabulary, grammars: Grammars | None = None
) -> list[PlannedJob]:
    """Return the jobs of a request that `parameters.covers`: one a sequence, or one a beam search.

    Raises:
        InvalidRequestError: transformers refuses the combination of parameters.
        EngineLostError: the device is gone.
    """
    seed = secrets.randbits(63) if generation.seed is None else generation.seed
    clock = Clock(generation.max_time)
    jobs: list[PlannedJob] = []
    stops = stops_of(generation, vocabulary)
    grammar = None if grammars is None else grammars.of(generation)
    for number, prompt in enumerate(generation.prompts):
        try:
            longest = generation.length(len(prompt))
            config = parameters.resolve(generation.parameters, longest)
            sampling = parameters.sampling(config, generation.parameters, prompt, model)
        except torch.AcceleratorError as error:  # processors have tensors of their own
            raise EngineLostError(f"the device failed: {error}") from error
        except torch.OutOfMemoryError:
            raise
        except (ValueError, TypeError, RuntimeError) as error:
            raise refusal("transformers refuses this combination of parameters", error) from error
        beams = parameters.beams(config)
        if beams and grammar is not None and not sampling.ends:
            message = f"num_beams is {beams.width}, but beams that are held to a grammar need an end token: set it to 1"
            raise InvalidRequestError(message, param="num_beams")
        room = longest - len(prompt)
        for sequence in range(1 if beams else generation.sequences):
            spec = JobSpec(
                prompt=prompt,
                max_length=longest,
                sampling=sampling,
                beams=beams,
                seed=_mixed(seed, number, sequence),
                stops=stops,
                clock=clock,
                logprobs=generation.logprobs,
                prompt_logprobs=generation.prompt_logprobs,
                grammar=grammar,
                eos=None if grammars is None or grammar is None else grammars.eos,
                plain_ends=frozenset(token for token in sampling.ends if not vocabulary.hidden(token)),
            )
            index = number * generation.sequences + sequence
            most = len(prompt) + room * spec.width
            scored = spec.prompt_logprobs is not None
            jobs.append(PlannedJob(spec=spec, index=index, width=spec.width, prompt=prompt, most=most, scored=scored))
    return jobs


def _mixed(seed: int, prompt: int, sequence: int) -> int:
    """A seed for each sequence: far apart, so that neighbouring seeds of requests share nothing."""
    return (seed + prompt + sequence * 0x9E3779B97F4A7C15) % 2**63


class LedRanks(Protocol):
    """Ranks that compute one model together."""

    @property
    def engine(self) -> Engine:
        """Rank 0's engine, which all others follow."""
        ...

    @property
    def free(self) -> int:
        """Bytes that each rank may still take."""
        ...

    def close(self) -> None:
        """Let the others go; from any thread."""
        ...


class NativeBackend:
    """One model of transformers, computed by the native engine."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        max_context: int | None,
        budgets: BatchBudgets,
        batch_invariant: bool = False,
        ranks: LedRanks | None = None,
    ) -> None:
        """`covers_model` accepts the model; `max_context` lowers what its configuration allows.

        `batch_invariant`: what else is computed changes no bit of a request's scores. With `ranks`, `loaded` holds no
        weights: the ranks compute, and nothing runs outside of the batch.
        """
        self._model = loaded.model
        self._ranks = ranks
        self._exclusive = TransformersBackend(loaded, max_context=max_context)
        self.info = replace(self._exclusive.info, backend="native", batch_invariant=batch_invariant)
        if ranks is None:
            self.executor: Engine = Engine.of(
                loaded.model, max_context=self.info.max_context, batch_invariant=batch_invariant
            )
            free = free_memory(self.info.device)
        else:
            self.executor, free = ranks.engine, ranks.free
        entries = budgets.entries or self._entries_that_fit(free)
        tokens = budgets.tokens or budgets.rows + READ_AT_ONCE[self.executor.on_gpu]
        self.capacity = Capacity(rows=budgets.rows, tokens=tokens, entries=entries)

    def _entries_that_fit(self, free: int) -> int:
        """How many entries of keys and values a part of the free memory holds; at least a whole context."""
        fit = int(free * SHARE_OF_MEMORY) // self.executor.bytes_per_entry
        return max(min(fit, MOST_ENTRIES), _next_power(self.info.max_context))

    def close(self) -> None:
        """Let other ranks go, if there are any."""
        if self._ranks is not None:
            self._ranks.close()

    @property
    def kv_usage(self) -> KvUsage:
        """Entries that running jobs need, of all that there may be."""
        return KvUsage(self.executor.entries_in_use, self.capacity.entries)

    def covers(self, generation: Generation) -> str | None:
        """Return why a request must run alone, by `generate`; None when its jobs may join the batch."""
        name = parameters.uncovered(generation)
        return None if name is None else f"{name} is not computed in the batch"

    def jobs(self, generation: Generation) -> list[PlannedJob]:
        """Return the jobs of a request that `covers`; raises as `plan_jobs` does."""
        return plan_jobs(generation, self._model, self.vocabulary, self._exclusive.grammars)

    def prepared(self, generation: Generation) -> bool:
        """Whether its grammar is known; see `backends.base.Prepares`."""
        return self._exclusive.grammars.prepared(generation)

    def prepare(self, generation: Generation) -> Generation:
        """Return the request with its grammar; see `backends.base.Prepares`."""
        return self._exclusive.grammars.prepare(generation)

    @property
    def vocabulary(self) -> Vocabulary:
        """The bytes of its tokens."""
        return self._exclusive.vocabulary

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return token ids; see `backends.base.Backend`."""
        return self._exclusive.encode(text, special=special)

    def render(self, messages: Seq[dict[str, str]], **how: Json) -> str:
        """Return the prompt for a chat, by the model's own template."""
        return self._exclusive.render(messages, **how)

    def check(self, generation: Generation) -> None:
        """Refuse what must run alone and cannot, or where no rank has the whole model; see `backends.base.Checks`."""
        if self.covers(generation) is None:
            return
        if self._ranks is not None:
            raise _only_in_the_batch(generation, self.capacity)
        self._exclusive.check(generation)

    def generate(self, generation: Generation, control: Control) -> list[Sequence]:
        """Run a request alone, by transformers' `generate`; raises an InvalidRequestError where ranks compute."""
        if self._ranks is not None:
            raise _only_in_the_batch(generation, self.capacity)
        return self._exclusive.generate(generation, control)

    def warm_up(self) -> None:
        """Run a few steps in both ways.

        Raises:
            LoadError: LoadFailed when the model cannot take a step.
        """
        if self._ranks is None:
            self._exclusive.warm_up()
        prompt = tuple(self.encode("The", special=True)) or (0,)
        batch_of_one = Generation(prompts=(prompt,), max_tokens=len(prompt) + 2, parameters={"do_sample": False})
        (job,) = self.jobs(batch_of_one)
        try:
            self.executor.try_out(job.spec)
        except (InternalError, RuntimeError) as error:
            raise LoadError(LoadReason.LOAD_FAILED, f"the native engine cannot take a step: {error}") from error


def _only_in_the_batch(generation: Generation, capacity: Capacity) -> InvalidRequestError:
    """What to say of a request that must run alone, where no rank has the whole model to run it with."""
    name = parameters.uncovered(generation)
    if name is None:
        message = (
            f"this request may need more than the {capacity.rows} rows or the {capacity.entries} tokens of keys and "
            "values that there are: lower num_beams or max_new_tokens"
        )
        return InvalidRequestError(message, code="too_large_for_batch")
    message = (
        f"{name} is not computed by several ranks together: leave it out, or ask a deployment with "
        "spec.engine.name: transformers"
    )
    return InvalidRequestError(message, code="unsupported_parameter", param=name)


def covers_loaded(loaded: Loaded) -> str | None:
    """Return why a loaded model is not computed natively, None when it is."""
    if "," in loaded.device or not loaded.device.startswith(("cpu", "cuda")):
        return f"its layers are spread over {loaded.device}"
    return covers_model(loaded.model.config)


def _next_power(number: int) -> int:
    return 1 << (number - 1).bit_length()
