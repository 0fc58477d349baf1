"""Does the model fit? Weights + KV cache + overhead against the memory of the GPUs, or of the container without any.

    weights   elements of each type * bytes of the type that will run; quantized elements as they are stored
    KV cache  2 * layers * KV heads * head size * bytes * context * sequences
    overhead  1 GiB for each GPU (CUDA context, libraries' workspaces, what the allocator keeps)
              + 5 % of weights and KV cache (activations, fragmentation, shards of unequal size)

Layers are spread over the GPUs of a replica, so that their memory adds up and any number of them serves.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from llama_operator.plan.survey import ModelFact
from llama_operator.preflight.finding import GIB, Finding, counted, failed, gib, passed, unknown
from llama_operator.preflight.products import GpuMemory

FIXED_BYTES: Final = GIB
SHARE: Final = 0.05
_STEP: Final = 64
"""Contexts are proposed in multiples of this many tokens."""

_TORCH: Final[Mapping[str, int]] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
_CONVERTED: Final = frozenset({"F64", "F32", "F16", "BF16"})
_KEPT: Final[Mapping[str, float]] = {
    **dict.fromkeys(("I64", "U64"), 8.0),
    **dict.fromkeys(("I32", "U32"), 4.0),
    **dict.fromkeys(("I16", "U16"), 2.0),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1.0),
    **dict.fromkeys(("F4", "F6_E2M3", "F6_E3M2"), 0.75),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to run; `context` in tokens, None for the model's own; `limit` is the container's memory in bytes.

    `gpus` are all of a replica, over its `nodes`; `lowers` is the field that fewer `sequences` are written to.
    """

    repo: str
    gpus: int
    dtype: str = "auto"
    context: int | None = None
    sequences: int = 1
    lowers: str = "spec.engine.maxConcurrentSequences"
    limit: int | None = None
    nodes: int = 1

    @property
    def runs_in(self) -> str:
        """The type that will run. On a CPU `auto` may be wider; not to refuse what may fit, the narrower one counts."""
        if self.dtype != "auto":
            return self.dtype
        return "float16" if self.gpus else "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes that a replica needs, by what for; `per_token` is the KV cache of one token of one sequence."""

    weights: int
    per_token: int
    context: int
    sequences: int
    devices: int

    @property
    def cache(self) -> int:
        """The KV cache of all sequences at their full length."""
        return self.per_token * self.context * self.sequences

    @property
    def overhead(self) -> int:
        """What is needed besides."""
        return self.devices * FIXED_BYTES + math.ceil(SHARE * (self.weights + self.cache))

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.overhead

    def largest_context(self, capacity: int) -> int:
        """Return the most tokens a sequence may have, with as many sequences; 0 if none."""
        tokens = self._cache_in(capacity) // (self.per_token * self.sequences)
        return max(0, tokens // _STEP * _STEP)

    def most_sequences(self, capacity: int) -> int:
        """Return how many sequences of this context there may be; 0 if none."""
        return max(0, self._cache_in(capacity) // (self.per_token * self.context))

    def fewest_devices(self, each: int) -> int | None:
        """Return how many GPUs of `each` bytes hold it; None if no number does."""
        if each <= FIXED_BYTES:
            return None
        return math.ceil((1 + SHARE) * (self.weights + self.cache) / (each - FIXED_BYTES))

    def _cache_in(self, capacity: int) -> int:
        return math.floor((capacity - self.devices * FIXED_BYTES) / (1 + SHARE)) - self.weights


def need(load: Load, model: ModelFact) -> Need | None:
    """Return what a replica needs; None if the Hub does not say enough to know."""
    size = _TORCH[load.runs_in]
    weights, per_token = _weights(model, size), _per_token(model, size)
    context = load.context or model.shape.context
    if weights is None or per_token is None or context is None:
        return None
    # A model reads no further than it was made for, whatever the spec allows.
    context = min(context, model.shape.context or context)
    return Need(
        weights=weights, per_token=per_token, context=context, sequences=load.sequences, devices=max(1, load.gpus)
    )


def _weights(model: ModelFact, size: int) -> int | None:
    counts = model.parameters
    if counts and all(name in _CONVERTED or name in _KEPT for name in counts):
        return math.ceil(sum(n * (size if name in _CONVERTED else _KEPT[name]) for name, n in counts.items()))
    if not model.weight_bytes:
        return None
    stored = None if model.shape.quantization else _TORCH.get(model.shape.dtype or "")
    return model.weight_bytes if stored is None else model.weight_bytes * size // stored


def _per_token(model: ModelFact, size: int) -> int | None:
    shape = model.shape
    if shape.layers is None or shape.kv_heads is None or shape.head_dim is None:
        return None
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * size


def check(load: Load, model: ModelFact, gpu: GpuMemory | None) -> Finding:
    """Compare what the model needs with what there is; a context that the model does not have is told, and cut."""
    found, own = _compare(load, model, gpu), model.shape.context
    if load.context is None or own is None or load.context <= own:
        return found
    note = f"spec.engine.maxContextTokens is {load.context}, and {load.repo} was made for {own} tokens, which holds"
    return replace(found, message=f"{found.message}; {note}", warns=True)


def _compare(load: Load, model: ModelFact, gpu: GpuMemory | None) -> Finding:
    wanted = need(load, model)
    if wanted is None:
        return unknown("Memory", f"the Hub does not say how much memory {load.repo} needs")
    sums = _sums(load, wanted)
    if not load.gpus:
        return _in_container(load, wanted, sums)
    if gpu is None:
        how = "set spec.resources.gpu.memory to have it checked"
        return unknown("Memory", f"{sums}; how much a GPU has is not known: {how}")
    capacity = load.gpus * gpu.bytes
    has = f"{counted(load.gpus, 'GPU')} with {gib(gpu.bytes)} each ({gpu.whose})"
    if wanted.total <= capacity:
        return passed("Memory", f"{sums}; {has} hold{'s' if load.gpus == 1 else ''} it")
    return failed("Memory", "ModelDoesNotFit", f"{sums}, which {has} cannot hold: {_way_out(load, wanted, gpu)}")


def _in_container(load: Load, wanted: Need, sums: str) -> Finding:
    if load.limit is None or wanted.total <= load.limit:
        return passed("Memory", sums)
    options = [
        f"raise spec.resources.memoryLimit to {math.ceil(wanted.total / GIB)}Gi",
        *_smaller(load, wanted, load.limit),
    ]
    message = f"{sums}, and spec.resources.memoryLimit is {gib(load.limit)}: {' or '.join(options)}"
    return failed("Memory", "ModelDoesNotFit", message)


def _sums(load: Load, wanted: Need) -> str:
    of = f"{counted(wanted.sequences, 'sequence')} of {wanted.context} tokens"
    least = "at least " if load.dtype == "auto" and not load.gpus else ""
    return (
        f"{load.repo} in {load.runs_in} needs {least}{gib(wanted.total)} (weights {gib(wanted.weights)}, KV cache "
        f"{gib(wanted.cache)} for {of}, overhead {gib(wanted.overhead)})"
    )


def _way_out(load: Load, wanted: Need, gpu: GpuMemory) -> str:
    options = list(_smaller(load, wanted, load.gpus * gpu.bytes))
    count = wanted.fewest_devices(gpu.bytes)
    if count is not None:
        options.append(f"raise spec.resources.gpu.count to {math.ceil(count / load.nodes)}")
    if load.dtype == "float32":
        options.append("set spec.engine.dtype to float16")
    if gpu.larger:
        options.append(f"set spec.resources.gpu.product to {gpu.larger}, whose GPUs are larger")
    return " or ".join(options) or "use GPUs with more memory"


def _smaller(load: Load, wanted: Need, capacity: int) -> Iterator[str]:
    if context := wanted.largest_context(capacity):
        yield f"lower spec.engine.maxContextTokens to {context}"
    sequences = wanted.most_sequences(capacity)
    if 0 < sequences < wanted.sequences:
        yield f"lower {load.lowers} to {sequences}"
