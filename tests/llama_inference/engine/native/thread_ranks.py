"""Ranks in threads of one process: the same division of the work as between processes, exchanged by shared lists."""

import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llama_inference.engine.native.checkpoint import Checkpoint, skeleton
from llama_inference.engine.native.engine import Engine
from llama_inference.engine.native.layout import Layout
from llama_inference.engine.native.ranks import Ranks
from llama_inference.engine.native.shards import read_part
from llama_inference.engine.native.stepper import Stepper

CPU = torch.device("cpu")


class _Meeting:
    """Where threads lay down what they have and take what the others have."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size, timeout=60)
        self.parts: list[Tensor] = [torch.empty(0)] * size

    def exchange(self, rank: int, part: Tensor) -> list[Tensor]:
        """Return every rank's part."""
        self.barrier.wait()
        self.parts[rank] = part
        self.barrier.wait()
        return list(self.parts)


class ThreadRank:
    """One rank."""

    def __init__(self, meeting: _Meeting, rank: int) -> None:
        self.rank = rank
        self.size = meeting.size
        self._meeting = meeting

    def add(self, part: Tensor) -> Tensor:
        """The sum of all parts."""
        return torch.stack(self._meeting.exchange(self.rank, part)).sum(0)

    def gather(self, piece: Tensor, columns: int) -> Tensor:
        """All pieces."""
        return torch.cat(self._meeting.exchange(self.rank, piece), dim=1)[:, :columns]


class ThreadStepper(Stepper):
    """Rank 0 with all others: each step runs in as many threads as there are ranks."""

    def __init__(self, folder: Path, ranks: int, *, max_context: int, dtype: torch.dtype = torch.float32) -> None:
        meeting = _Meeting(ranks)
        self.model: Any = skeleton(folder, dtype, CPU)
        self.bytes_read: list[int] = []

        def part(rank: int) -> tuple[Any, Ranks]:
            checkpoint = Checkpoint(folder)
            weights = read_part(self.model, checkpoint, rank=rank, ranks=ranks)
            self.bytes_read.append(checkpoint.bytes_read)
            return weights, ThreadRank(meeting, rank)

        own, *others = (part(rank) for rank in range(ranks))
        super().__init__(self.model, own[0], max_context=max_context, ranks=own[1])
        self.others = [Stepper(self.model, each[0], max_context=max_context, ranks=each[1]) for each in others]

    def carry_out(self, layout: Layout) -> Tensor | None:
        """Compute one step in all threads."""
        threads = [threading.Thread(target=other.carry_out, args=(layout,), daemon=True) for other in self.others]
        for thread in threads:
            thread.start()
        logits = super().carry_out(layout)
        for thread in threads:
            thread.join(60)
        return logits

    def clear(self) -> None:
        """Give back all slabs of all ranks."""
        super().clear()
        for other in self.others:
            other.clear()


def engine_of(folder: Path, ranks: int, *, max_context: int) -> Engine:
    """An engine of several ranks over a model's folder."""
    return Engine(ThreadStepper(folder, ranks, max_context=max_context))
