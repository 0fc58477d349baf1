"""A bench for the native engine: transformers' answer and the engine's own for the same requests, alone or together."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import Any, TypeAlias

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from llama_inference.backends.batching import Capacity, PlannedJob
from llama_inference.backends.grammars import Grammars
from llama_inference.backends.native import plan_jobs
from llama_inference.backends.tokens import Tokens as Tokenizer
from llama_inference.engine.native.engine import Engine
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.values import Generation, Sequence

CONTEXT = 256
VOCABULARY = 400
Tokens: TypeAlias = list[tuple[int, ...]]


def tiny_model(cls: Any = LlamaForCausalLM, config: Any = LlamaConfig, **changes: Any) -> Any:
    """A random model of two layers, the same weights each time; `changes` go to its configuration."""
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.4,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    with torch.random.fork_rng():
        torch.manual_seed(20230718)
        model = cls(config(**{**settings, **changes})).eval()
    model.generation_config = GenerationConfig()
    return model


def a_request(
    prompt: Seq[int], *, new: int = 40, seed: int = 7, stop_strings: Seq[str] = (), **parameters: Any
) -> Generation:
    """A request for one prompt and `new` tokens at most; greedy, and ended by token 1, unless told otherwise."""
    given = {"do_sample": False, "num_beams": 1, "eos_token_id": 1, **parameters}
    return Generation(
        prompts=(tuple(prompt),),
        max_tokens=len(prompt) + new,
        sequences=given.get("num_return_sequences", 1),
        parameters=given,
        stop_strings=tuple(stop_strings),
        seed=seed,
    )


def a_prompt(length: int, salt: int = 0) -> list[int]:
    """A text of that many tokens, none of them an end token."""
    generator = torch.Generator().manual_seed(1000 * salt + length)
    return torch.randint(2, VOCABULARY, (length,), generator=generator).tolist()


def batch_over(engine: Engine, *, entries: int, rows: int, tokens: int, smallest: int, slab: int) -> Batch:
    """A batch of that capacity."""
    return Batch(engine, Capacity(rows=rows, tokens=tokens, entries=entries), smallest=smallest, slab=slab)


class Bench:
    """One model in two forms."""

    def __init__(self, reference: Any, model: Any, tokenizer: Any, engine: Engine | None = None) -> None:
        """`reference` and `model` are equal; `model` is packed for the engine, unless there is an `engine` already."""
        self.reference = reference
        self.model = model
        self.tokenizer = tokenizer
        words = Tokenizer(tokenizer, vocabulary=VOCABULARY)
        self.vocabulary = words.vocabulary
        self.grammars = Grammars(words)
        self.engine = engine

    def expected(self, request: Generation) -> Tokens:
        """What transformers' `generate` answers."""
        (prompt,) = request.prompts
        config = GenerationConfig(
            **request.parameters, max_length=request.max_tokens, pad_token_id=0, return_dict_in_generate=True
        )
        if request.stop_strings:
            config.stop_strings = list(request.stop_strings)
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            output = self.reference.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=config, tokenizer=self.tokenizer
            )
        rows = output.sequences[:, len(prompt) :].tolist()
        beams = getattr(output, "beam_indices", None)
        if beams is None:
            return [tuple(row) for row in rows]
        lengths = (beams >= 0).sum(dim=1).tolist()
        return [tuple(row[:length]) for row, length in zip(rows, lengths, strict=True)]

    def jobs(self, request: Generation) -> list[PlannedJob]:
        """The jobs of a request."""
        return plan_jobs(request, self.model, self.vocabulary, self.grammars)

    def batch(
        self, *, entries: int = 16384, rows: int = 64, tokens: int = 256, smallest: int = 16, slab: int = 256
    ) -> Batch:
        """A batch on an engine of its own."""
        engine = self.engine or Engine.of(self.model, max_context=CONTEXT)
        return batch_over(engine, entries=entries, rows=rows, tokens=tokens, smallest=smallest, slab=slab)

    def engine_of(self, batch: Batch) -> Engine:
        """The engine under a batch."""
        assert isinstance(batch.executor, Engine)
        return batch.executor

    def run(
        self, requests: Seq[Generation], *, each_step: Callable[[Batch], None] = lambda _: None, **budgets: Any
    ) -> list[list[Sequence]]:
        """What the engine answers to requests that come at once."""
        batch = self.batch(**budgets)
        places: dict[int, tuple[int, int]] = {}
        results: list[dict[int, Sequence]] = [{} for _ in requests]
        for number, request in enumerate(requests):
            for job in self.jobs(request):
                places[batch.submit(job)] = (number, job.index)
        while not batch.idle:
            for report in batch.step():
                if report.error is not None:
                    raise report.error
                number, index = places[report.job]
                results[number].update(enumerate(report.done or (), index))
            each_step(batch)
        return [[result[index] for index in sorted(result)] for result in results]

    def tokens(self, requests: Seq[Generation], **budgets: Any) -> list[Tokens]:
        """What the engine answers, as token ids."""
        return [[sequence.token_ids for sequence in answer] for answer in self.run(requests, **budgets)]
