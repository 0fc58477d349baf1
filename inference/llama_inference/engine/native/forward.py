"""One step through the network: rows of tokens in, logits of the rows that are asked for out."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import silu

from llama_inference.engine.native.architecture import Architecture
from llama_inference.engine.native.attention import DecodeGroup, PrefillSegment, attend
from llama_inference.engine.native.ranks import Ranks
from llama_inference.engine.native.rope import Rope, Turn
from llama_inference.engine.native.weights import Layer, Projection, Weights


@dataclass(frozen=True, slots=True)
class Rows:
    """What a step computes.

    Attributes:
        tokens, positions: int64 [rows]; decoding rows come first, slab by slab, then texts.
        groups, prefills: who attends to what.
        wanted: int64 [n], the rows whose logits count; None for all of them.
    """

    tokens: Tensor
    positions: Tensor
    groups: tuple[DecodeGroup, ...]
    prefills: tuple[PrefillSegment, ...]
    wanted: Tensor | None


class Network:
    """A Llama's decoder over packed weights.

    Between two products that stream megabytes of weights the caches are cold and each small operation costs several
    times what it costs alone: so there are few of them, and in place where that saves one.

    Of several ranks each computes its heads and its part of the inner layer; twice a layer they add up their parts.
    """

    def __init__(self, architecture: Architecture, weights: Weights, rope: Rope, ranks: Ranks) -> None:
        """`architecture` and `weights` are this rank's part."""
        self._architecture = architecture
        self._weights = weights
        self._rope = rope
        self._ranks = ranks

    def logits(self, rows: Rows) -> Tensor:
        """Return float32 [wanted, vocabulary], on rank 0; keys and values of all rows are written on the way."""
        hidden = self._embedded(rows.tokens)
        turn = self._rope.at(rows.positions)
        for number, layer in enumerate(self._weights.layers):
            query, new = self._before(layer, hidden, turn)
            hidden = self._after(layer, hidden, attend(number, query, new, rows.groups, rows.prefills))
        if rows.wanted is not None:
            hidden = hidden.index_select(0, rows.wanted)
        return self._scores(hidden)

    def _embedded(self, tokens: Tensor) -> Tensor:
        """The tokens' embeddings; each rank knows those of its part of the vocabulary, and adds nothing for others."""
        weights = self._weights
        if self._ranks.size == 1:
            return weights.embedding.index_select(0, tokens)
        own = tokens - weights.first_token
        known = (own >= 0) & (own < weights.embedding.shape[0])
        found = weights.embedding.index_select(0, own.where(known, 0))
        return self._ranks.add(found.masked_fill_(~known[:, None], 0))

    def _before(self, layer: Layer, hidden: Tensor, turn: Turn) -> tuple[Tensor, Tensor]:
        """What attention takes: query [rows, heads, head]; new keys and values [rows, 2, kv heads, head]."""
        it = self._architecture
        fused = layer.qkv(layer.norm(hidden)).view(hidden.shape[0], it.heads + 2 * it.kv_heads, it.head)
        query = fused[:, : it.heads]
        if layer.query_norm is not None and layer.key_norm is not None:
            key = fused[:, it.heads : it.heads + it.kv_heads]
            query.copy_(layer.query_norm(query))
            key.copy_(layer.key_norm(key))
        turn.apply_(fused[:, : it.heads + it.kv_heads])
        return query, fused[:, it.heads :].unflatten(1, (2, it.kv_heads))

    def _after(self, layer: Layer, hidden: Tensor, attended: Tensor) -> Tensor:
        """The layer's output, [rows, hidden], from its input and what attention gave, [rows, heads * head]."""
        hidden = self._add(layer.out, hidden, attended)
        gate, up = layer.gate_up(layer.mlp_norm(hidden)).chunk(2, dim=-1)
        return self._add(layer.down, hidden, silu(gate).mul_(up))

    def _scores(self, hidden: Tensor) -> Tensor:
        """The logits, float32 [rows, vocabulary], on rank 0."""
        weights = self._weights
        return self._ranks.gather(weights.head(weights.norm(hidden)), self._architecture.vocabulary).float()

    def _add(self, projection: Projection, residual: Tensor, x: Tensor) -> Tensor:
        if self._ranks.size == 1:
            return projection.add_to(residual, x)
        return residual.add_(self._ranks.add(projection(x)))
