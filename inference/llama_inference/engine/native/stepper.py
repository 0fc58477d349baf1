"""The device's side of a step, on every rank alike: keys and values, and the network."""

import logging

import torch
from torch import Tensor

from llama_inference.engine.native import architecture
from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.assembly import assemble
from llama_inference.engine.native.forward import Network
from llama_inference.engine.native.invariance import InvariantNetwork
from llama_inference.engine.native.kv import KvCache
from llama_inference.engine.native.layout import Layout
from llama_inference.engine.native.ranks import ALONE, Ranks
from llama_inference.engine.native.rope import Rope
from llama_inference.engine.native.weights import Weights

log = logging.getLogger(__name__)


class Stepper:
    """One rank's weights, keys and values."""

    def __init__(
        self,
        model: Pretrained,
        weights: Weights,
        *,
        max_context: int,
        ranks: Ranks = ALONE,
        batch_invariant: bool = False,
    ) -> None:
        """`model` gives the configuration and the rotary embedding; `weights` are this rank's part of its weights.

        `batch_invariant` is for one rank, see `invariance`.
        """
        self.weights = weights
        self.dtype: torch.dtype = model.dtype
        self.device = weights.embedding.device
        self._own = architecture.read(model.config).part(ranks.size)
        self._network = self._opened(Rope(model, max_context), ranks, batch_invariant=batch_invariant)
        self.batch_invariant = batch_invariant
        self._cache = KvCache(self._own, self.dtype, self.device)

    def _opened(self, rope: Rope, ranks: Ranks, *, batch_invariant: bool) -> Network:
        if not batch_invariant:
            return Network(self._own, self.weights, rope, ranks)
        network = InvariantNetwork(self._own, self.weights, rope)
        log.info("scores do not depend on company", extra={"rows_at_once": network.block})
        return network

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
        return self._network.logits(assemble(layout, self._cache, self.device, apart=self.batch_invariant))
