"""The device's side of a step, on every rank alike: keys and values, and the network."""

import torch
from torch import Tensor

from llama_inference.engine.native import architecture
from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.assembly import assemble
from llama_inference.engine.native.forward import Network
from llama_inference.engine.native.kv import KvCache
from llama_inference.engine.native.layout import Layout
from llama_inference.engine.native.ranks import ALONE, Ranks
from llama_inference.engine.native.rope import Rope
from llama_inference.engine.native.weights import Weights


class Stepper:
    """One rank's weights, keys and values."""

    def __init__(self, model: Pretrained, weights: Weights, *, max_context: int, ranks: Ranks = ALONE) -> None:
        """`model` gives the configuration and the rotary embedding; `weights` are this rank's part of its weights."""
        self.weights = weights
        self.dtype: torch.dtype = model.dtype
        self.device = weights.embedding.device
        self._own = architecture.read(model.config).part(ranks.size)
        self._network = Network(self._own, weights, Rope(model, max_context), ranks)
        self._cache = KvCache(self._own, self.dtype, self.device)

    @property
    def bytes_per_entry(self) -> int:
        """What one entry of keys and values takes here."""
        it = self._own
        return it.layers * 2 * it.kv_heads * it.head * self.dtype.itemsize

    @property
    def slabs(self) -> int:
        """How many slabs of keys and values exist."""
        return len(self._cache)

    def clear(self) -> None:
        """Give all slabs back."""
        self._cache.clear()

    @torch.inference_mode()
    def carry_out(self, layout: Layout) -> Tensor | None:
        """Compute one step; return the logits, float32 [wanted, vocabulary], on the rank that chooses."""
        self._cache.change(layout.memory)
        if not len(layout.tokens):
            return None
        return self._network.logits(assemble(layout, self._cache, self.device))
