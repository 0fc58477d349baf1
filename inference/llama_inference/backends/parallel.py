"""Backends of several ranks: the leader's, which answers, and that of another node, which only computes."""

import logging
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer

from llama_inference.backends.follower import FollowerBackend
from llama_inference.backends.native import BatchBudgets, NativeBackend
from llama_inference.engine.device import free_memory
from llama_inference.engine.native import architecture, division
from llama_inference.engine.native.checkpoint import skeleton
from llama_inference.engine.native.engine import Engine
from llama_inference.engine.native.layout import Layout
from llama_inference.engine.native.ranks import Group
from llama_inference.engine.native.stepper import Stepper
from llama_inference.engine.parallel.child import Orders
from llama_inference.engine.parallel.children import Children
from llama_inference.engine.parallel.following import Follower
from llama_inference.engine.parallel.leading import Leader, listen
from llama_inference.engine.parallel.member import Part, load_part
from llama_inference.engine.parallel.messages import Compute, Join, Reset
from llama_inference.engine.parallel.topology import Topology
from llama_inference.engine.progress import Progress
from llama_inference.engine.weights import Loaded
from llama_inference.errors import LoadError, LoadReason
from llama_inference.settings import Settings
from llama_inference.values import ModelInfo

log = logging.getLogger(__name__)
Lost = Callable[[str], None]


def topology(settings: Settings, gpus: int) -> Topology:
    """Return which ranks the settings ask for, where that many GPUs are seen."""
    per_node = settings.tensor_parallel
    if per_node == "auto":
        per_node = 1 if settings.batch_invariant else max(1, gpus)
    if settings.nodes == 1:
        return Topology(per_node=per_node)
    return Topology(
        per_node=per_node,
        nodes=settings.nodes,
        node=settings.node_rank,
        address=settings.leader_address,
        port=settings.leader_port,
    )


def open_ranks(
    settings: Settings, folder: Path, *, on_lost: Lost, progress: Progress | None = None
) -> NativeBackend | FollowerBackend | None:
    """Bring up this node's ranks, as many as the settings ask for; None where one is enough.

    `on_lost` is called from another thread when a rank is gone: nothing will work again in this process. What the main
    process's own rank has read is counted in `progress`.

    Raises:
        LoadError: the model cannot be divided among so many ranks, or one of them cannot load its part.
        EngineLostError: one of them has died.
    """
    ranks = topology(settings, torch.cuda.device_count())
    if ranks.size == 1:
        return None
    model = skeleton(folder, torch.float32, torch.device("meta"))
    plan = model._tp_plan  # noqa: SLF001 - there is no other way to it before the model is loaded
    reason = architecture.covers_model(model.config) or division.refuses(model.config, plan, ranks.size)
    if reason is not None and settings.tensor_parallel == "auto" and settings.nodes == 1:
        log.info("the layers are spread over %s GPUs, which take turns", ranks.size, extra={"reason": reason})
        return None
    if reason is not None:
        message = f"the model cannot be divided among {ranks.size} ranks (TENSOR_PARALLEL times NODES): {reason}"
        raise LoadError(LoadReason.UNSUPPORTED_ARCHITECTURE, message)
    context = architecture.read(model.config).context
    start = _Start(ranks, folder, settings.dtype, min(context, settings.max_context_tokens or context), progress)
    if ranks.node:
        return _follow(start, on_lost=on_lost)
    budgets = BatchBudgets(
        rows=settings.max_concurrent_sequences, tokens=settings.step_tokens, entries=settings.kv_cache_tokens
    )
    return _lead(start, budgets, on_lost=on_lost)


@dataclass(frozen=True, slots=True)
class _Start:
    """What all ranks of a node are started with."""

    ranks: Topology
    folder: Path
    dtype: str
    max_context: int
    progress: Progress | None

    def children(self) -> Children:
        """Start this node's other ranks."""
        orders = {
            rank: Orders(
                rank=rank,
                topology=self.ranks,
                folder=str(self.folder),
                dtype=self.dtype,
                max_context=self.max_context,
            ).json()
            for rank in self.ranks.children
        }
        return Children(orders)

    def part(self) -> Part:
        """Load the main process's own part."""
        return load_part(self.folder, self.dtype, self.ranks, self.ranks.own, self.progress)


def _lead(start: _Start, budgets: BatchBudgets, *, on_lost: Lost) -> NativeBackend:
    listener = listen(start.ranks)
    if start.ranks.nodes == 1:
        start = replace(start, ranks=replace(start.ranks, port=listener.getsockname()[1]))
    leader = Leader(start.ranks, listener, start.children(), on_lost=on_lost)
    try:
        part = start.part()
        leader.gather()
        ranks = _Led(leader, *_joined(leader, start, part))
        tokenizer = AutoTokenizer.from_pretrained(start.folder, local_files_only=True, trust_remote_code=False)
        loaded = Loaded(part.model, tokenizer, part.dtype, _devices(part.weights.embedding.device, start.ranks))
        return NativeBackend(loaded, max_context=start.max_context, budgets=budgets, ranks=ranks)
    except BaseException:
        leader.close()
        raise


def _joined(leader: Leader, start: _Start, part: Part) -> tuple[Stepper, int]:
    """Let all ranks join one group; return rank 0's side of it, and how many bytes each may still take."""
    device = part.weights.embedding.device
    with tempfile.TemporaryDirectory() as folder:  # kept until the last one has said that it is in
        rendezvous = f"file://{folder}/group"
        if start.ranks.nodes > 1:
            rendezvous = f"tcp://{start.ranks.address}:{_free_port()}"
        leader.tell(Join(rendezvous))
        group = Group(rendezvous, rank=0, size=start.ranks.size, device=device)
        free = [free_memory(str(device)), *(int(answer["free"]) for answer in leader.answers())]
    shared = start.ranks.per_node if device.type == "cpu" else 1
    return _LedStepper(leader, part, group, start.max_context), min(free) // shared


def _free_port() -> int:
    with socket.create_server(("", 0)) as free:
        return free.getsockname()[1]


def _devices(own: torch.device, ranks: Topology) -> str:
    """Every rank's device, as `ModelInfo` tells them."""
    return ",".join(f"{own.type}:{ranks.local(rank)}" if own.type == "cuda" else own.type for rank in range(ranks.size))


class _LedStepper(Stepper):
    """Rank 0's side of a step, which cannot be computed when another rank is gone."""

    def __init__(self, leader: Leader, part: Part, group: Group, max_context: int) -> None:
        super().__init__(part.model, part.weights, max_context=max_context, ranks=group)
        self._leader = leader

    def carry_out(self, layout: Layout) -> Tensor | None:
        """Compute one step; where that fails the ranks are no longer in step, and an EngineLostError says why."""
        try:
            return super().carry_out(layout)
        except RuntimeError as error:  # of gloo or NCCL, or too little memory on this rank
            raise self._leader.blame(error) from error


class _Led:
    """The ranks as the leader's backend sees them."""

    def __init__(self, leader: Leader, stepper: Stepper, free: int) -> None:
        self._leader = leader
        self.engine = Engine(stepper, announce=self._announce)
        self.free = free

    def _announce(self, layout: Layout | None) -> None:
        self._leader.tell(Reset() if layout is None else Compute(layout))

    def close(self) -> None:
        """Let the others go."""
        self._leader.close()


def _follow(start: _Start, *, on_lost: Lost) -> FollowerBackend:
    children = start.children()
    follower = Follower(start.ranks, start.ranks.own, on_gone=on_lost)
    try:
        children.watch(on_lost)
        try:
            part = start.part()
        except LoadError as error:
            follower.report(error)
            raise
        follower.report()
        stepper = follower.join(part, max_context=start.max_context)
    except BaseException:
        children.end()
        raise
    info = ModelInfo(
        max_context=start.max_context,
        vocabulary=architecture.read(part.model.config).vocabulary,
        dtype=part.dtype,
        device=_devices(part.weights.embedding.device, replace(start.ranks, nodes=1)),
    )
    return FollowerBackend(info, follower, stepper, children, start.ranks)
