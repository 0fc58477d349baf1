"""Keys and values, slab by slab, and which of them each decoding row may see.

A beam search never copies keys or values: its beams write into one slot, and each beam's row of the slot's mask says
which entries are its own past. Choosing other beams re-indexes mask rows of a few hundred bytes.
"""

from collections.abc import Sequence as Seq

import numpy as np
import torch
from torch import Tensor

from llama_inference.engine.native.architecture import Architecture
from llama_inference.engine.native.edits import Tokens
from llama_inference.engine.native.plan import Add, Copy, Drop, Memory, Place, SlabShape


class Slab:
    """Slots of one shape.

    Attributes:
        kv: [layers, 2, slots, kv heads, capacity, head]; 2 is keys and values.
        mask: [slots, width * groups, capacity], 0 where a row sees an entry, else -inf.
    """

    def __init__(self, shape: SlabShape, architecture: Architecture, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = shape
        self._groups = architecture.groups
        size = (architecture.layers, 2, shape.slots, architecture.kv_heads, shape.capacity, architecture.head)
        # Zeros, not garbage: what a mask hides is still multiplied, and 0 · nan is nan. Untouched pages cost nothing.
        # For the same reason `see` wipes what a slot's former user left: a text whose numbers overflow harms itself.
        self.kv = torch.zeros(size, dtype=dtype, device=device)
        self._writes = self.kv.permute(0, 2, 4, 1, 3, 5).unbind(0)  # a layer each: [slots, capacity, 2, kv heads, head]
        rows = shape.width * architecture.groups
        self.mask = torch.full((shape.slots, rows, shape.capacity), -torch.inf, dtype=dtype, device=device)
        self._written = np.zeros(shape.slots, np.int64)  # entries of each slot that are not zeros any more

    def will_write(self, slots: Tokens, ends: Tokens) -> None:
        """Take note that each slot is written up to an end; slots, ends: int64 [n]."""
        np.maximum.at(self._written, slots, ends)

    def see(self, slot: int, entries: int, used: int) -> None:
        """Let every row of a slot see its first `entries` entries, and no others; what is after `used` is wiped."""
        self.mask[slot, :, :entries] = 0
        self.mask[slot, :, entries:] = -torch.inf
        if used < self._written[slot]:
            self.kv[:, :, slot, :, used : self._written[slot]] = 0
            self._written[slot] = used

    def wipe(self, slot: int, begin: int, end: int) -> None:
        """Forget a slot's entries from `begin` up to `end`, which a mask is about to hide."""
        if begin < end:
            self.kv[:, :, slot, :, begin:end] = 0

    def see_also(self, slots: Tensor, entries: Tensor) -> None:
        """Let each slot's rows see one entry more; slots, entries: int64 [n]."""
        self.mask.transpose(1, 2).index_put_((slots, entries), self.mask.new_zeros(()))

    def see_only(self, slot: int, start: int, visible: Tensor) -> None:
        """Set what each row sees from entry `start` on; visible: bool [width, entries after start]."""
        rows = torch.where(visible, 0.0, -torch.inf).to(self.mask)
        self.mask[slot, :, start : start + visible.shape[1]] = rows.repeat_interleave(self._groups, dim=0)

    def write(self, layer: int, slots: Tensor, entries: Tensor, new: Tensor) -> None:
        """Write one entry a row; slots, entries: int64 [rows]; new: [rows, 2, kv heads, head]."""
        self._writes[layer].index_put_((slots, entries), new)

    def write_run(self, layer: int, slot: int, start: int, new: Tensor) -> None:
        """Write consecutive entries of one slot; new: [entries, 2, kv heads, head]."""
        self._writes[layer][slot, start : start + new.shape[0]] = new

    def views(self, first: int, last: int, entries: int) -> tuple[Tensor, ...]:
        """Return keys of layer 0, values of layer 0, keys of layer 1, …, of slots `first` to `last`, that left out.

        Each is a view [slots, kv heads, entries, head].
        """
        return self.kv[:, :, first:last, :, :entries].flatten(0, 1).unbind(0)


class KvCache:
    """All slabs that exist."""

    def __init__(self, architecture: Architecture, dtype: torch.dtype, device: torch.device) -> None:
        self._architecture = architecture
        self._dtype = dtype
        self._device = device
        self._slabs: dict[int, Slab] = {}

    def __getitem__(self, number: int) -> Slab:
        return self._slabs[number]

    def __len__(self) -> int:
        return len(self._slabs)

    def clear(self) -> None:
        """Give all slabs back."""
        self._slabs.clear()

    def change(self, memory: Seq[Memory]) -> None:
        """Carry out what happens to slabs and slots, in order."""
        for each in memory:
            match each:
                case Add(slab, shape):
                    self._slabs[slab] = Slab(shape, self._architecture, self._dtype, self._device)
                case Drop(slab):
                    del self._slabs[slab]
                case Copy(source, target, entries):  # the target's mask is set by who uses it next
                    self._at(target, entries).copy_(self._at(source, entries))
                    self._slabs[target.slab].will_write(np.array([target.slot]), np.array([entries]))

    def _at(self, place: Place, entries: int) -> Tensor:
        return self._slabs[place.slab].kv[:, :, place.slot, :, :entries]
