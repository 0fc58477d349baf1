"""Rotary position embeddings, by transformers' own module: every kind of scaling is exact by construction."""

import torch
from torch import Tensor

from llama_inference.engine.native.architecture import Pretrained


class Rope:
    """Cosines and sines for each position, in a table."""

    def __init__(self, model: Pretrained, positions: int) -> None:
        """`model` is a `LlamaForCausalLM` or like one.

        `positions` must not exceed its `max_position_embeddings`: beyond it a dynamic scaling depends on the length of
        the text, and a table cannot hold it.
        """
        device = model.model.embed_tokens.weight.device
        like = torch.empty(0, dtype=model.dtype, device=device)  # the module rounds to this dtype
        cos, sin = model.model.rotary_emb(like, torch.arange(positions, device=device)[None])
        half = cos.shape[-1] // 2
        sin[..., :half].neg_()
        self._cos = cos[0][:, None].contiguous()  # [positions, 1, head]
        self._sin = sin[0][:, None].contiguous()  # the same, the first half negative
        self._swapped = torch.arange(2 * half, device=device).roll(half)

    @property
    def positions(self) -> int:
        """How many there are, from 0 on."""
        return len(self._cos)

    def at(self, positions: Tensor) -> "Turn":
        """Return what turns rows at these positions, int64 [rows]."""
        return Turn(self._cos.index_select(0, positions), self._sin.index_select(0, positions), self._swapped)


class Turn:
    """The rotation of a step's rows."""

    __slots__ = ("_cos", "_sin", "_swapped")

    def __init__(self, cos: Tensor, sin: Tensor, swapped: Tensor) -> None:
        """Take cos, sin: [rows, 1, head]; swapped: int64 [head], which exchanges the halves of a head."""
        self._cos = cos
        self._sin = sin
        self._swapped = swapped

    def apply_(self, x: Tensor) -> None:
        """Turn x [rows, heads, head] in place; the same sums as transformers' `apply_rotary_pos_emb`."""
        other = x.index_select(-1, self._swapped)
        x.mul_(self._cos).addcmul_(other, self._sin)
