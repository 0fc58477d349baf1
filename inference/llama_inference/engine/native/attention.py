"""Attention of one layer for a whole step: decoding rows slab by slab, then each text that is being read."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llama_inference.engine.native.kv import Slab


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring slots of a slab that decode together.

    Attributes:
        begin, end: their rows in the step, in order of slots and beams.
        width: rows of each slot.
        views: keys and values as `Slab.views` returns them.
        mask: [slots, 1, width * groups, entries].
    """

    begin: int
    end: int
    width: int
    views: tuple[Tensor, ...]
    mask: Tensor


@dataclass(frozen=True, slots=True)
class DecodeGroup:
    """All decoding rows of one slab.

    Attributes:
        begin, end: the rows in the step.
        slots, entries: int64 [rows], where each row writes.
        runs: the rows again, as few runs as they make.
    """

    slab: Slab
    begin: int
    end: int
    slots: Tensor
    entries: Tensor
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class PrefillSegment:
    """A piece of one text.

    Attributes:
        slot: where it is written, from entry `start` on.
        begin, end: its rows in the step.
        views: keys and values as `Slab.views` returns them.
        mask: [rows, entries of the views], or None when `start` is 0 and each row sees what stands before it.
    """

    slab: Slab
    slot: int
    start: int
    begin: int
    end: int
    views: tuple[Tensor, ...]
    mask: Tensor | None


def causal_mask(start: int, rows: int, like: Tensor, *, entries: int | None = None) -> Tensor | None:
    """Return the mask of a piece of `rows` tokens after `start` others: [rows, entries].

    Where `entries` are not given it ends with the piece, and is None when it is the plain triangle.
    """
    if entries is None:
        if start == 0:
            return None
        entries = start + rows
    hidden = torch.full((rows, entries), -torch.inf, dtype=like.dtype, device=like.device)
    return hidden.triu_(start + 1)


def attend(
    layer: int, query: Tensor, new: Tensor, groups: tuple[DecodeGroup, ...], prefills: tuple[PrefillSegment, ...]
) -> Tensor:
    """Write a layer's new keys and values and attend.

    Args: query [rows, heads, head], new [rows, 2, kv heads, head]; rows as the groups and segments say.
    Returns: [rows, heads * head].
    """
    pieces: list[Tensor] = []
    for group in groups:
        group.slab.write(layer, group.slots, group.entries, new[group.begin : group.end])
        pieces += [decode(layer, query, run) for run in group.runs]
    for segment in prefills:
        segment.slab.write_run(layer, segment.slot, segment.start, new[segment.begin : segment.end])
        pieces.append(_prefill(layer, query, segment))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def decode(layer: int, query: Tensor, run: Run) -> Tensor:
    """Return what the rows of a run attend to, [rows, heads * head]; query: [rows of the step, heads, head]."""
    keys, values = run.views[2 * layer], run.views[2 * layer + 1]
    slots, kv_heads, _, head = keys.shape
    rows = query[run.begin : run.end]
    # The query heads that share a key head, and a slot's beams, become rows of one small product: keys are read once.
    if run.width == 1:
        rows = rows.view(slots, kv_heads, -1, head)
        return scaled_dot_product_attention(rows, keys, values, attn_mask=run.mask).reshape(slots, -1)
    rows = rows.view(slots, run.width, kv_heads, -1, head).transpose(1, 2)
    groups = rows.shape[3]
    out = scaled_dot_product_attention(rows.flatten(2, 3), keys, values, attn_mask=run.mask)
    return out.unflatten(2, (run.width, groups)).transpose(1, 2).reshape(slots * run.width, -1)


def _prefill(layer: int, query: Tensor, segment: PrefillSegment) -> Tensor:
    out = scaled_dot_product_attention(
        query[segment.begin : segment.end].transpose(0, 1)[None],
        segment.views[2 * layer],
        segment.views[2 * layer + 1],
        attn_mask=segment.mask,
        is_causal=segment.mask is None,
        enable_gqa=True,
    )
    return out[0].transpose(0, 1).flatten(1)
