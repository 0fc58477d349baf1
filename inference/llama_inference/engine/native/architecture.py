"""Which models the native engine computes itself, and their dimensions."""

from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

Pretrained: TypeAlias = Any  # a model, module or configuration of transformers: their attributes are not typed

# Model types whose decoder is Llama's, with the differences that `weights` reads off the modules themselves:
# a bias on queries, keys and values (Qwen2), a norm on queries and keys (Qwen3).
MODEL_TYPES: Final = frozenset({"llama", "mistral", "qwen2", "qwen3"})
ROPE_TYPES: Final = frozenset({"default", "linear", "dynamic", "llama3", "yarn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Dimensions of a decoder.

    Attributes:
        layers, hidden, vocabulary: as in the configuration.
        heads, kv_heads, head: query heads, key and value heads, and the size of one.
        context: positions that the rotary embedding is made for.
    """

    layers: int
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head: int
    context: int

    @property
    def groups(self) -> int:
        """How many query heads share a key head."""
        return self.heads // self.kv_heads

    def part(self, ranks: int) -> "Architecture":
        """What one of so many ranks computes: its part of the heads; `ranks` divides both kinds of them."""
        return replace(self, heads=self.heads // ranks, kv_heads=self.kv_heads // ranks)


def covers_model(config: Pretrained) -> str | None:
    """Return why a model of this `PreTrainedConfig` is not computed natively, None when it is."""
    kind = getattr(config, "model_type", None)
    if kind not in MODEL_TYPES:
        return f"the architecture {kind} is not one of {', '.join(sorted(MODEL_TYPES))}"
    if getattr(config, "hidden_act", "silu") != "silu":
        return f"its activation is {config.hidden_act}, not silu"
    if kind != "llama" and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "it uses a sliding window"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in ROPE_TYPES:
        return f"its rotary embedding is {rope}, not one of {', '.join(sorted(ROPE_TYPES))}"
    if getattr(config, "quantization_config", None) is not None:
        return "its weights are quantized"
    return None


def read(config: Pretrained) -> Architecture:
    """Return the dimensions in a `PreTrainedConfig` that `covers_model` accepts."""
    heads: int = config.num_attention_heads
    return Architecture(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocabulary=config.vocab_size,
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head=getattr(config, "head_dim", None) or config.hidden_size // heads,
        context=config.max_position_embeddings,
    )
