"""From scores to a distribution over few candidates, for all rows at once, each with its own parameters.

The filters are transformers' warpers in transformers' order: temperature, top-k, top-p, min-p, typical-p. They are
applied to the likeliest candidates only, which a partial sort finds; where those do not decide, to all tokens.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from llama_inference.engine.native.parameters import Sampling

SLACK: Final = 8  # candidates beyond the largest top-k, so that ties at its edge are seen
NARROW: Final = 1024  # candidates for rows with top-p and without top-k


@dataclass(frozen=True, slots=True)
class Warp:
    """The parameters of each row, [rows, 1] each; float32, top-k and the number to keep int64."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    typical_p: Tensor
    keep: Tensor

    @classmethod
    def of(cls, rows: Seq[Sampling], device: torch.device) -> "Warp":
        """Collect the rows' parameters on the device."""
        table = [(r.temperature, r.top_p, r.min_p, r.typical_p) for r in rows]
        counts = torch.tensor([(r.top_k, r.keep) for r in rows]).to(device)
        numbers = torch.tensor(table, dtype=torch.float32).to(device)
        return cls(numbers[:, 0:1], counts[:, 0:1], numbers[:, 1:2], numbers[:, 2:3], numbers[:, 3:4], counts[:, 1:2])


def candidates(scores: Tensor, rows: Seq[Sampling]) -> tuple[Tensor, Tensor]:
    """Return what may be drawn, in order of token ids.

    Args: scores float32 [n, vocabulary].
    Returns: scores float32 [n, k] after the temperature, -inf where a filter removes a token; token ids int64 [n, k].
    """
    warp = Warp.of(rows, scores.device)
    scores = scores / warp.temperature
    vocabulary = scores.shape[-1]
    total = None if all(row.top_k for row in rows) else _total(scores)
    for count in _counts(rows, vocabulary):
        if count == vocabulary and not any(_filters(row) for row in rows):
            return scores, torch.arange(vocabulary, device=scores.device).expand_as(scores)
        values, ids = torch.topk(scores, count)
        if count == vocabulary or _decide(values, total, warp):
            values = _filter(values, total, warp, typical=any(row.typical_p < 1 for row in rows))
            ids, order = ids.sort(dim=-1)
            return values.gather(-1, order), ids
    raise AssertionError("the last try is the whole vocabulary")


def _filters(row: Sampling) -> bool:
    return bool(row.top_k) or row.top_p < 1 or row.min_p > 0 or row.typical_p < 1


def _counts(rows: Seq[Sampling], vocabulary: int) -> tuple[int, ...]:
    """How many candidates to try with; the last try is the whole vocabulary."""
    if all(row.top_k for row in rows):
        few = max(row.top_k for row in rows) + SLACK
    elif all(row.top_k or row.top_p < 1 for row in rows):
        few = max(NARROW, *(row.top_k + SLACK for row in rows))
    else:
        return (vocabulary,)
    return (few, vocabulary) if few < vocabulary else (vocabulary,)


def _total(scores: Tensor) -> Tensor:
    """The log of the sum of exponentials, [n, 1]; by `log_softmax`, which is not slow where exponentials underflow."""
    return scores.amax(-1, keepdim=True) - torch.log_softmax(scores, dim=-1).amax(-1, keepdim=True)


def _decide(values: Tensor, total: Tensor | None, warp: Warp) -> bool:
    """Whether nothing beyond the candidates could be kept: by top-k without a tie at the edge, or by top-p's mass."""
    decided = values[:, -1:] < _edge(values, warp)
    if total is not None:
        mass = torch.exp(values.logsumexp(-1, keepdim=True) - total)
        decided = torch.where(warp.top_k > 0, decided, mass - 1e-4 > warp.top_p)
    return bool(decided.all())


def _edge(values: Tensor, warp: Warp) -> Tensor:
    """The score of the last token that top-k keeps."""
    place = (torch.maximum(warp.top_k, warp.keep) - 1).clamp(max=values.shape[-1] - 1)
    return values.gather(-1, place)


def _filter(values: Tensor, total: Tensor | None, warp: Warp, *, typical: bool) -> Tensor:
    """Apply the filters to candidates [n, k], best first; `total` [n, 1] is of all tokens, None where top-k is on."""
    values = values.masked_fill((warp.top_k > 0) & (values < _edge(values, warp)), -torch.inf)
    kept = values.logsumexp(-1, keepdim=True)
    shares = torch.exp(values - (kept if total is None else torch.where(warp.top_k > 0, kept, total)))
    protected = torch.arange(values.shape[-1], device=values.device) < warp.keep
    better = shares.cumsum(-1) - shares  # the mass of what is likelier
    values = values.masked_fill((warp.top_p < 1) & (better >= warp.top_p) & ~protected, -torch.inf)
    values = values.masked_fill((shares < warp.min_p * shares[:, :1]) & ~protected, -torch.inf)
    return _typical(values, warp) if typical else values


def _typical(values: Tensor, warp: Warp) -> Tensor:
    """Keep the tokens whose information is nearest to the entropy (arXiv:2202.00666)."""
    logs = torch.log_softmax(values, dim=-1)
    shares = logs.exp()
    entropy = -(logs * shares).nansum(-1, keepdim=True)
    distance, order = (-logs - entropy).abs().sort(dim=-1)
    mass = shares.gather(-1, order).cumsum(-1)
    last = (mass < warp.typical_p).sum(dim=-1, keepdim=True).clamp(max=values.shape[-1] - 1)
    far = distance > distance.gather(-1, last)
    far &= torch.arange(values.shape[-1], device=values.device) >= warp.keep
    removed = torch.zeros_like(far).scatter(-1, order, far)
    return values.masked_fill(removed & (warp.typical_p < 1), -torch.inf)


def draw(values: Tensor, ids: Tensor, uniform: Tensor) -> Tensor:
    """Draw one token a row.

    Args: values float32 [n, k] as `candidates` returns; uniform float64 [n], in [0, 1).
    Returns: int64 [n].
    """
    mass = torch.softmax(values, dim=-1).double().cumsum(-1)
    target = uniform[:, None] * mass[:, -1:]
    place = torch.searchsorted(mass, target, right=True).clamp(max=values.shape[-1] - 1)
    return ids.gather(-1, place)[:, 0]
