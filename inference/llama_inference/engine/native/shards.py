"""One rank's part of the weights, read straight into the form that a step multiplies with.

No rank ever holds more than its part and one tensor of it beside: the largest are read first.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Seq

import torch
from torch import Tensor

from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.checkpoint import Checkpoint
from llama_inference.engine.native.division import Cut, cut
from llama_inference.engine.native.weights import Layer, Norm, Projection, Weights


def read_part(model: Pretrained, checkpoint: Checkpoint, *, rank: int, ranks: int) -> Weights:
    """Read what one rank holds.

    Args: model is a `skeleton`, divided as `division.refuses` has agreed to; its embedding says dtype and device.

    Raises:
        LoadError: LoadFailed when the checkpoint is not this model's.
    """
    return _Reader(model, checkpoint, rank, ranks).weights()


class _Reader:
    def __init__(self, model: Pretrained, checkpoint: Checkpoint, rank: int, ranks: int) -> None:
        self._model = model
        self._checkpoint = checkpoint
        self._plan: Mapping[str, str] = model._tp_plan  # noqa: SLF001 - there is no other way to it before it is loaded
        self._rank = rank
        self._ranks = ranks
        self._like: Tensor = model.model.embed_tokens.weight
        self._on_cpu = self._like.device.type == "cpu"
        self._names: dict[int, str] = {id(module): name for name, module in model.named_modules()}

    def weights(self) -> Weights:
        decoder = self._model.model
        name = self._weight(decoder.embed_tokens)
        embedding_cut = self._cut(name)
        if self._model.config.tie_word_embeddings:
            head = self._fuse([decoder.embed_tokens])
            embedding = head.weight.t()
        else:
            embedding = self._whole_or_part(name)
            head = self._fuse([self._model.lm_head])
        return Weights(
            embedding=embedding,
            layers=tuple(self._layer(layer) for layer in decoder.layers),
            norm=self._norm(decoder.norm),
            head=head,
            first_token=0 if embedding_cut is None else embedding_cut.first,
        )

    def _layer(self, layer: Pretrained) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp
        return Layer(
            norm=self._norm(layer.input_layernorm),
            qkv=self._fuse([attention.q_proj, attention.k_proj, attention.v_proj]),
            query_norm=self._optional_norm(attention, "q_norm"),
            key_norm=self._optional_norm(attention, "k_norm"),
            out=self._fuse([attention.o_proj]),
            mlp_norm=self._norm(layer.post_attention_layernorm),
            gate_up=self._fuse([mlp.gate_proj, mlp.up_proj]),
            down=self._fuse([mlp.down_proj]),
        )

    def _norm(self, module: Pretrained) -> Norm:
        return Norm(self._whole_or_part(self._weight(module)), module.variance_epsilon)

    def _optional_norm(self, attention: Pretrained, name: str) -> Norm | None:
        module = getattr(attention, name, None)
        return None if module is None else self._norm(module)

    def _fuse(self, modules: Seq[Pretrained]) -> Projection:
        """The parts of linear layers side by side, transposed on a CPU as `weights` lays them out."""
        names = [self._weight(module) for module in modules]
        shapes = [self._shape(name) for name in names]
        outputs, inputs = sum(shape[0] for shape in shapes), shapes[0][1]
        rows = self._empty(inputs, outputs).t() if self._on_cpu else self._empty(outputs, inputs)
        first = 0
        for name, shape in zip(names, shapes, strict=True):
            self._checkpoint.read_into(rows[first : first + shape[0]], name, self._cut(name))
            first += shape[0]
        return Projection(rows.t(), self._bias(modules))

    def _bias(self, modules: Seq[Pretrained]) -> Tensor | None:
        names = [f"{self._names[id(module)]}.bias" for module in modules if getattr(module, "bias", None) is not None]
        if not names:
            return None
        # What is added up by all ranks gets its bias from one of them.
        if self._rank and all(self._cut(name) is None for name in names):
            return None
        return torch.cat([self._whole_or_part(name) for name in names])

    def _whole_or_part(self, name: str) -> Tensor:
        target = self._empty(*self._shape(name))
        self._checkpoint.read_into(target, name, self._cut(name))
        return target

    def _weight(self, module: Pretrained) -> str:
        return f"{self._names[id(module)]}.weight"

    def _cut(self, name: str) -> Cut | None:
        return cut(name, self._checkpoint.shape(name), self._plan, rank=self._rank, ranks=self._ranks)

    def _shape(self, name: str) -> tuple[int, ...]:
        shape, part = list(self._checkpoint.shape(name)), self._cut(name)
        if part is not None:
            shape[part.dim] = part.last - part.first
        return tuple(shape)

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self._like.dtype, device=self._like.device)
