"""From a layout to tensors on the device: masks are brought up to date, views and indices are made."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from llama_inference.engine.native.attention import DecodeGroup, PrefillSegment, Run, causal_mask
from llama_inference.engine.native.edits import Tokens
from llama_inference.engine.native.forward import Rows
from llama_inference.engine.native.kv import KvCache
from llama_inference.engine.native.layout import GroupLayout, Layout, RunLayout, See, SeeAlso, SeeOnly, SegmentLayout

BLOCK: Final = 64


def assemble(layout: Layout, cache: KvCache, device: torch.device, *, apart: bool = False) -> Rows:
    """Return what the network computes; the masks show what the layout says. Slabs have been changed before.

    `apart`: each row of a text is to attend by itself, so its piece shows whole blocks of entries, and has a mask.
    """
    slots = {group.slab: _tensor(group.slots, device) for group in layout.groups}
    entries = {group.slab: _tensor(group.entries, device) for group in layout.groups}
    for sight in layout.sights:
        match sight:
            case See(place, seen, used):
                cache[place.slab].see(place.slot, seen, used)
            case SeeOnly(place, start, visible):
                cache[place.slab].see_only(place.slot, start, torch.from_numpy(visible))
            case SeeAlso(slab):
                cache[slab].see_also(slots[slab], entries[slab])
    for group in layout.groups:
        cache[group.slab].will_write(group.slots, group.entries + 1)
    for segment in layout.segments:
        end = segment.start + segment.end - segment.begin
        cache[segment.place.slab].will_write(np.array([segment.place.slot]), np.array([end]))
    return Rows(
        tokens=_tensor(layout.tokens, device),
        positions=_tensor(layout.positions, device),
        groups=tuple(_group(group, cache, slots[group.slab], entries[group.slab]) for group in layout.groups),
        prefills=tuple(_segment(segment, cache, apart=apart) for segment in layout.segments),
        wanted=None if layout.wanted is None else _tensor(layout.wanted, device),
    )


def _group(group: GroupLayout, cache: KvCache, slots: Tensor, entries: Tensor) -> DecodeGroup:
    slab = cache[group.slab]

    def run(each: RunLayout) -> Run:
        used = whole_blocks(each.used, slab.shape.capacity)
        mask = slab.mask[each.first : each.last, None, :, :used]
        return Run(each.begin, each.end, slab.shape.width, slab.views(each.first, each.last, used), mask)

    return DecodeGroup(slab, group.begin, group.end, slots, entries, tuple(map(run, group.runs)))


def _segment(segment: SegmentLayout, cache: KvCache, *, apart: bool) -> PrefillSegment:
    slab, slot = cache[segment.place.slab], segment.place.slot
    rows = segment.end - segment.begin
    end = segment.start + rows
    used = whole_blocks(end, slab.shape.capacity) if apart else end
    slab.wipe(slot, end, used)
    views = slab.views(slot, slot + 1, used)
    mask = causal_mask(segment.start, rows, slab.mask, entries=used if apart else None)
    return PrefillSegment(slab, slot, segment.start, segment.begin, segment.end, views, mask)


def whole_blocks(entries: int, capacity: int) -> int:
    """Round up: how hidden entries are summed up must not depend on how many company brings."""
    return min(-(-entries // BLOCK) * BLOCK, capacity)


def _tensor(values: Tokens, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
