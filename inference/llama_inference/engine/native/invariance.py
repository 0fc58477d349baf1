"""Scores that do not depend on company, bit for bit, on any processor.

The order in which a product sums up its terms may change with the number of its rows: how libraries choose is theirs,
and differs between processors. What is computed on inputs of one shape is not theirs to choose: the same row at the
same place gives the same bits. So here every operation has a shape that company cannot change:

- All but attention sees blocks of a fixed number of rows, the last one filled up.
- Each token attends by itself, and each search, to whole blocks of entries: as many as its own position asks for.

A row may stand at any place of its block. Whether that changes its bits (it does where two threads divide an odd number
of rows) is tried out when the model is opened; one row at a time, the last resort, has no other place.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llama_inference.engine.native.architecture import Architecture
from llama_inference.engine.native.assembly import whole_blocks
from llama_inference.engine.native.attention import PrefillSegment, decode
from llama_inference.engine.native.forward import Network, Rows
from llama_inference.engine.native.ranks import ALONE
from llama_inference.engine.native.rope import Rope
from llama_inference.engine.native.weights import Weights

BLOCKS: Final = (8, 4, 2, 1)  # rows; fewer cost less where little runs, more where much does
TRIALS_SEED: Final = 20230718


class InvariantNetwork(Network):
    """A network whose logits of a row depend on its own text alone.

    Attributes:
        block: rows that are computed at once.
    """

    def __init__(self, architecture: Architecture, weights: Weights, rope: Rope) -> None:
        """Try out how many rows may be computed at once."""
        super().__init__(architecture, weights, rope, ALONE)
        self.block = next(block for block in BLOCKS if self._is_free_of_places(block))

    def logits(self, rows: Rows) -> Tensor:
        """Return float32 [wanted, vocabulary]; keys and values of all rows are written on the way."""
        count = len(rows.tokens)
        turns = [self._rope.at(each) for each in self._blocks(rows.positions)]
        hidden = [self._embedded(each) for each in self._blocks(rows.tokens)]
        for number, layer in enumerate(self._weights.layers):
            parts = [self._before(layer, *each) for each in zip(hidden, turns, strict=True)]
            query, new = (torch.cat(each)[:count] for each in zip(*parts, strict=True))
            attended = self._blocks(torch.cat(list(_attend(number, query, new, rows))))
            hidden = [self._after(layer, *each) for each in zip(hidden, attended, strict=True)]
        whole = torch.cat(hidden)[:count]
        if rows.wanted is not None:
            whole = whole.index_select(0, rows.wanted)
        if not len(whole):
            return whole.new_empty(0, self._architecture.vocabulary).float()
        return torch.cat([self._scores(each) for each in self._blocks(whole)])[: len(whole)]

    def _blocks(self, x: Tensor) -> list[Tensor]:
        """Split x [rows, ...] into blocks, each in memory of its own: kernels may go by alignment too."""
        blocks = [each.clone() for each in x.split(self.block)]
        if lacking := -len(x) % self.block:
            blocks[-1] = torch.cat((blocks[-1], x.new_zeros(lacking, *x.shape[1:])))
        return blocks

    @torch.inference_mode()
    def _is_free_of_places(self, block: int) -> bool:
        """Whether a row's bits are the same at every place of a block of random rows."""
        weights, it = self._weights, self._architecture
        layer = weights.layers[0]
        random = torch.Generator().manual_seed(TRIALS_SEED)
        hidden, attended = (
            torch.randn(block, size, generator=random).to(weights.embedding) for size in (it.hidden, it.heads * it.head)
        )
        positions = torch.arange(block, device=hidden.device) % self._rope.positions

        def computed(shift: int) -> list[Tensor]:
            x, y, at = (torch.roll(each, shift, 0) for each in (hidden, attended, positions))
            out = (*self._before(layer, x, self._rope.at(at)), self._after(layer, x, y), self._scores(x))
            return [torch.roll(each, -shift, 0) for each in out]

        first = computed(0)
        return all(torch.equal(*pair) for shift in range(1, block) for pair in zip(first, computed(shift), strict=True))


def _attend(layer: int, query: Tensor, new: Tensor, rows: Rows) -> Iterable[Tensor]:
    """Write new keys and values, and let each token, and each search, attend by itself; see `attention.attend`."""
    for group in rows.groups:
        group.slab.write(layer, group.slots, group.entries, new[group.begin : group.end])
        for run in group.runs:  # a slot each: the layout is told so
            yield decode(layer, query, run)
    for segment in rows.prefills:
        segment.slab.write_run(layer, segment.slot, segment.start, new[segment.begin : segment.end])
        for row in range(segment.end - segment.begin):
            yield _read(layer, query[segment.begin + row], segment, row)


def _read(layer: int, query: Tensor, segment: PrefillSegment, row: int) -> Tensor:
    """One token of a text that is being read, in the shapes in which it would be decoded; query: [heads, head]."""
    keys, values = segment.views[2 * layer], segment.views[2 * layer + 1]
    used = whole_blocks(segment.start + row + 1, keys.shape[2])
    query = query.view(1, keys.shape[1], -1, keys.shape[3])
    assert segment.mask is not None  # noqa: S101 - the assembly is told so
    mask = segment.mask[row, :used].expand(1, 1, query.shape[2], used)
    return scaled_dot_product_attention(query, keys[:, :, :used], values[:, :, :used], attn_mask=mask).reshape(1, -1)
