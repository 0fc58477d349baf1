"""The ways to serve callers that are compared, each as one function from requests to what was measured."""

import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig

from benchmarks.serving.measured import Measured
from llama_inference.backends.batching import Capacity
from llama_inference.backends.native import plan_jobs
from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.engine import Engine
from llama_inference.engine.native.weights import Weights
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.text.vocabulary import Bytes
from llama_inference.values import Generation

CAPACITY: Final = Capacity(rows=128, tokens=256, entries=1 << 17)
NO_TEXT: Final = Bytes()  # no request here has stop strings


@dataclass(frozen=True, slots=True)
class Steps:
    """Decoding steps beside the bound, taken in turns: seconds of each, the middle one of many."""

    step: float
    bound: float


def bound(weights: Weights, rows: int) -> Callable[[], float]:
    """Return what computes the linear layers once for so many rows, and says how long it took."""
    hidden = torch.randn(rows, weights.embedding.shape[1], dtype=weights.embedding.dtype)
    inner = torch.randn(rows, weights.layers[0].down.weight.shape[0], dtype=hidden.dtype)

    @torch.inference_mode()
    def once() -> float:
        began = time.perf_counter()
        for layer in weights.layers:
            layer.qkv(hidden)
            layer.out.add_to(hidden, hidden)
            layer.gate_up(hidden)
            layer.down.add_to(hidden, inner)
        weights.head(hidden)
        return time.perf_counter() - began

    return once


def native(engine: Engine, model: Pretrained, request: Generation) -> Measured:
    """All prompts of the request at once through the batch."""
    batch = Batch(engine, CAPACITY)
    began = time.perf_counter()
    waiting = {batch.submit(job) for job in plan_jobs(request, model, NO_TEXT)}
    firsts: list[float] = []
    tokens = 0
    while not batch.idle:
        for report in batch.step():
            if report.job in waiting:
                waiting.remove(report.job)
                firsts.append(time.perf_counter() - began)
            tokens += sum(len(sequence.token_ids) for sequence in report.done or ())
    seconds = time.perf_counter() - began
    engine.reset()
    return Measured(tokens / seconds, sum(firsts) / len(firsts))


def native_steps(engine: Engine, model: Pretrained, request: Generation, once: Callable[[], float]) -> Steps:
    """Decoding steps of all prompts together, the bound measured between them: what disturbs one disturbs the other."""
    batch = Batch(engine, CAPACITY)
    for job in plan_jobs(request, model, NO_TEXT):
        batch.submit(job)
    steps: list[float] = []
    bounds: list[float] = []
    while not batch.idle:
        began = time.perf_counter()
        batch.step()
        seconds = time.perf_counter() - began
        if not batch.last_plan.prefills and len(batch.last_plan.decodes) == len(request.prompts):
            steps.append(seconds)
            bounds.append(once())
    engine.reset()
    return Steps(middle(steps), middle(bounds))


def one_at_a_time(model: Pretrained, request: Generation, callers: int) -> Measured:
    """Each prompt alone through transformers' `generate`, as a server without a batch does.

    Of so many callers the last waits for all others: the mean first token follows from what one takes.
    """
    firsts: list[float] = []

    def look(ids: Tensor, _: Tensor) -> Tensor:
        if ids.shape[1] == len(prompt) + 1:
            firsts.append(time.perf_counter() - started)
        return torch.zeros(ids.shape[0], dtype=torch.bool)

    config = GenerationConfig(
        **dict(request.parameters), max_length=request.max_tokens, pad_token_id=0, disable_compile=True
    )
    began = time.perf_counter()
    tokens = 0
    for prompt in request.prompts:
        ids = torch.tensor([prompt])
        started = time.perf_counter()
        with torch.inference_mode():
            tokens += model.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=config, stopping_criteria=[look]
            ).shape[1]
        tokens -= len(prompt)
    seconds = time.perf_counter() - began
    each = seconds / len(request.prompts)
    return Measured(tokens / seconds, sum(firsts) / len(firsts) + each * (callers - 1) / 2)


def transformers_batching(model: Pretrained, request: Generation) -> Measured:
    """All prompts at once through transformers' own continuous batching; greedy only."""
    new = request.max_tokens - len(request.prompts[0])
    config = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0)
    began = time.perf_counter()
    outputs = model.generate_batch(
        inputs=[list(prompt) for prompt in request.prompts],
        generation_config=config,
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=256, max_batch_tokens=256),
    )
    seconds = time.perf_counter() - began
    return Measured(sum(len(output.generated_tokens) for output in outputs.values()) / seconds, None)


def middle(values: Seq[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]
