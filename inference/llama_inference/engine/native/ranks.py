"""What ranks exchange within a step: sums of what each has computed, and pieces of the logits."""

from datetime import timedelta
from typing import Final, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

STEP_PATIENCE: Final = timedelta(minutes=10)  # far above any step: a rank that is gone is noticed otherwise, at once


class Ranks(Protocol):
    """The ranks that compute one model together, seen from one of them; rank 0 chooses tokens."""

    @property
    def rank(self) -> int:
        """This one's number, from 0 on."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def add(self, part: Tensor) -> Tensor:
        """Return the sum of all ranks' parts; it may be the part itself, changed in place."""
        ...

    def gather(self, piece: Tensor, columns: int) -> Tensor:
        """Return all pieces side by side, [rows, columns], on rank 0; what the others get is worth nothing.

        Args: piece [rows, at most ⌈columns / size⌉]; every rank but the last ones has as many.
        """
        ...


class _Alone:
    """One rank."""

    rank = 0
    size = 1

    def add(self, part: Tensor) -> Tensor:
        """The part is the sum."""
        return part

    def gather(self, piece: Tensor, columns: int) -> Tensor:
        """The piece is the whole."""
        del columns
        return piece


ALONE: Final[Ranks] = _Alone()


class Group:
    """Ranks that exchange by torch's own process group: NCCL between GPUs, gloo between processors."""

    def __init__(self, rendezvous: str, *, rank: int, size: int, device: torch.device) -> None:
        """Join at `rendezvous`, a `file:` or `tcp:` URL; returns once all have. There is one group in a process."""
        self.rank = rank
        self.size = size
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=size, timeout=STEP_PATIENCE)

    def add(self, part: Tensor) -> Tensor:
        """Add up in place."""
        dist.all_reduce(part)
        return part

    def gather(self, piece: Tensor, columns: int) -> Tensor:
        """Gather pieces of equal width: what the last ranks lack is filled up, and cut off again."""
        if not piece.shape[0]:
            return piece.new_empty(0, columns)
        width = -(-columns // self.size)
        if piece.shape[1] < width:
            piece = torch.cat((piece, piece.new_zeros(piece.shape[0], width - piece.shape[1])), dim=1)
        pieces = [torch.empty_like(piece) for _ in range(self.size)] if self.rank == 0 else None
        dist.gather(piece.contiguous(), pieces)
        return piece if pieces is None else torch.cat(pieces, dim=1)[:, :columns]

    def leave(self) -> None:
        """Leave, so that another group can be joined."""
        dist.destroy_process_group()
