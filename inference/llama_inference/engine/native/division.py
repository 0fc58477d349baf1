"""How a model is divided among ranks: by transformers' own tensor-parallel plan, where this engine computes by it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Final

from llama_inference.engine.native import architecture
from llama_inference.engine.native.architecture import Pretrained

# What `forward` does with each module; a plan that says something else would be computed wrongly.
COMPUTED: Final[Mapping[str, str]] = {
    "model.embed_tokens": "embedding_rowwise",
    "model.layers.*.self_attn.q_proj": "colwise",
    "model.layers.*.self_attn.k_proj": "colwise",
    "model.layers.*.self_attn.v_proj": "colwise",
    "model.layers.*.self_attn.o_proj": "rowwise",
    "model.layers.*.mlp.gate_proj": "colwise",
    "model.layers.*.mlp.up_proj": "colwise",
    "model.layers.*.mlp.down_proj": "rowwise",
    "lm_head": "colwise_gather_output",
}
WHOLE: Final = "replicated_with_grad_allreduce"  # when computing, as if it were not in the plan
FIRST: Final = frozenset({"colwise", "colwise_gather_output", "embedding_rowwise"})  # divided along the first dimension


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a tensor that a rank holds: from `first` up to `last` along `dim`."""

    dim: int
    first: int
    last: int


def refuses(config: Pretrained, plan: Mapping[str, str] | None, ranks: int) -> str | None:
    """Return why a model is not computed by so many ranks, with what to do; None when it is.

    Args: plan is the model's own `_tp_plan`.
    """
    given = {name: style for name, style in (plan or {}).items() if style != WHOLE}
    if given != COMPUTED:
        odd = sorted({*given.items()} ^ {*COMPUTED.items()})
        return f"its tensor-parallel plan in this transformers differs from what the engine computes, in {odd[0][0]}"
    it = architecture.read(config)
    counts = {"attention heads": it.heads, "key heads": it.kv_heads, "inner columns": config.intermediate_size}
    bad = [f"{count} {name}" for name, count in counts.items() if count % ranks]
    if not bad:
        return None
    common = gcd(*counts.values())
    works = [str(size) for size in range(1, common + 1) if common % size == 0]
    most = " or ".join(works[-2:]) if len(works) > 1 else works[0]
    return f"{ranks} ranks cannot divide its {' and '.join(bad)} evenly: use {', '.join([*works[:-2], most])}"


def cut(name: str, shape: tuple[int, ...], plan: Mapping[str, str], *, rank: int, ranks: int) -> Cut | None:
    """Return a rank's part of a parameter, None when it holds the whole.

    Args: name such as `model.layers.3.mlp.up_proj.weight`; shape [outputs, inputs], or [outputs] for a bias.
    """
    module, _, kind = name.rpartition(".")
    style = plan.get(re.sub(r"\d+", "*", module), WHOLE)
    if style in FIRST:
        return _part(0, shape[0], rank, ranks)
    if style == "rowwise" and kind == "weight":
        return _part(1, shape[1], rank, ranks)
    return None


def _part(dim: int, length: int, rank: int, ranks: int) -> Cut:
    """As `torch.chunk` divides: all parts but the last ones are equal."""
    each = -(-length // ranks)
    return Cut(dim, min(rank * each, length), min((rank + 1) * each, length))
