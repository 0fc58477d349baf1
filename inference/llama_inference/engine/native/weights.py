"""The weights as a step reads them: fused, and on a CPU laid out so that small batches multiply fast.

transformers' model keeps working and no memory is spent twice: its own parameters become views of what is packed here.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from llama_inference.engine.native.architecture import Pretrained


@dataclass(frozen=True, slots=True)
class Projection:
    """`y = x W + b`, W [inputs, outputs]; contiguous on a CPU, up to twice as fast there for 2 to 64 rows."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return [rows, outputs] for x [rows, inputs]."""
        return torch.mm(x, self.weight) if self.bias is None else torch.addmm(self.bias, x, self.weight)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return `residual + x W + b` in one pass."""
        total = torch.addmm(residual, x, self.weight)
        return total if self.bias is None else total.add_(self.bias)


class Norm:
    """Root-mean-square norm, computed in float32 and rounded before the weight, as transformers does."""

    __slots__ = ("_epsilon", "_root", "_scaled", "_weight")

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        size = weight.shape[0]
        self._weight = weight
        self._epsilon = epsilon
        # In float32: x w / √(Σx²/n + ε) as √n w · x / hypot(‖x‖, √(n ε)), which takes half as many operations.
        self._scaled = weight * size**0.5
        self._root = torch.tensor((size * epsilon) ** 0.5, device=weight.device)

    def __call__(self, x: Tensor) -> Tensor:
        """Return x [..., n], normed along the last dimension."""
        if x.dtype == torch.float32:
            length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            return torch.div(x, torch.hypot(length, self._root)).mul_(self._scaled)
        return self._weight * rms_norm(x.float(), self._weight.shape, None, self._epsilon).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer."""

    norm: Norm
    qkv: Projection
    query_norm: Norm | None
    key_norm: Norm | None
    out: Projection
    mlp_norm: Norm
    gate_up: Projection
    down: Projection


@dataclass(frozen=True, slots=True)
class Weights:
    """The decoder, or one rank's part of it.

    Attributes:
        embedding: [vocabulary, hidden], may be a transposed view.
        first_token: the token of its first row.
    """

    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Norm
    head: Projection
    first_token: int = 0


def pack(model: Pretrained) -> Weights:
    """Pack the weights of a `LlamaForCausalLM`, or of a model built like one.

    Layer by layer, so that the peak is one layer above what the model takes.
    """
    decoder = model.model
    layers = tuple(_layer(layer) for layer in decoder.layers)
    head = _fuse([model.lm_head])
    tied: bool = model.config.tie_word_embeddings
    if tied:
        decoder.embed_tokens.weight.data = model.lm_head.weight.data
    return Weights(decoder.embed_tokens.weight.data, layers, _norm(decoder.norm), head)


def _layer(layer: Pretrained) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        norm=_norm(layer.input_layernorm),
        qkv=_fuse([attention.q_proj, attention.k_proj, attention.v_proj]),
        query_norm=_optional_norm(attention, "q_norm"),
        key_norm=_optional_norm(attention, "k_norm"),
        out=_fuse([attention.o_proj]),
        mlp_norm=_norm(layer.post_attention_layernorm),
        gate_up=_fuse([mlp.gate_proj, mlp.up_proj]),
        down=_fuse([mlp.down_proj]),
    )


def _norm(module: Pretrained) -> Norm:
    return Norm(module.weight.data, module.variance_epsilon)


def _optional_norm(attention: Pretrained, name: str) -> Norm | None:
    module = getattr(attention, name, None)
    return None if module is None else _norm(module)


def _fuse(linears: Seq[nn.Linear]) -> Projection:
    weight = torch.cat([linear.weight.data for linear in linears])  # [outputs, inputs]
    if weight.device.type == "cpu":
        weight = weight.t().contiguous().t()
    given: list[Tensor | None] = [linear.bias for linear in linears]
    biases = [each.data for each in given if each is not None]
    bias = torch.cat(biases) if biases else None
    first = 0
    for linear in linears:
        last = first + linear.out_features
        linear.weight.data = weight[first:last]
        if bias is not None:
            linear.bias.data = bias[first:last]
        first = last
    return Projection(weight.t(), bias)
