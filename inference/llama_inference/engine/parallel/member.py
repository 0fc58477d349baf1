"""One rank's part of a model, from a folder: what the leader and its followers do alike."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from llama_inference.engine import processors
from llama_inference.engine.device import choose_dtype, has_native_bf16
from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.checkpoint import Checkpoint, skeleton
from llama_inference.engine.native.shards import read_part
from llama_inference.engine.native.weights import Weights
from llama_inference.engine.parallel.topology import Topology
from llama_inference.engine.progress import Progress
from llama_inference.engine.reading import Reading
from llama_inference.engine.weights import quiet, way_out
from llama_inference.errors import LoadError, LoadReason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """A model without weights, and a rank's part of them.

    Attributes:
        dtype: such as `float16`.
        bytes_read: what the part took from the files.
    """

    model: Pretrained
    weights: Weights
    dtype: str
    bytes_read: int


def load_part(folder: Path, dtype: str, topology: Topology, rank: int, progress: Progress | None = None) -> Part:
    """Read a rank's part onto its device, and nothing else; what is there is counted in `progress`.

    Raises:
        LoadError: LoadFailed with what torch or transformers says.
    """
    quiet()
    gpus = torch.cuda.device_count()
    chosen = choose_dtype(dtype, gpu=gpus > 0, native_bf16=has_native_bf16())
    torch.set_num_threads(max(1, processors.found().threads // topology.per_node))
    device = torch.device(f"cuda:{topology.local(rank)}" if gpus else "cpu")
    if topology.nodes == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # what never leaves the pod needs no address of it
    try:
        if gpus:
            torch.cuda.set_device(device)
        model = skeleton(folder, getattr(torch, chosen), device)
        # About as much as any other rank has; what each of them holds whole is little.
        reading = Reading(progress, sum(Checkpoint(folder).sizes().values()) // topology.size)
        checkpoint = Checkpoint(folder, on_read=reading.add)
        weights = read_part(model, checkpoint, rank=rank, ranks=topology.size)
        reading.complete()
    except LoadError:
        raise
    except Exception as error:
        log.exception("a part of the model cannot be loaded", extra={"rank": rank})
        summary = f"{type(error).__name__}: {error}"
        message = f"a part of the model cannot be loaded as {chosen} ({summary}): {way_out(error)}"
        short_of_memory = isinstance(error, torch.OutOfMemoryError)
        raise LoadError(LoadReason.GPU_OUT_OF_MEMORY if short_of_memory else LoadReason.LOAD_FAILED, message) from error
    log.info("part loaded", extra={"rank": rank, "of": topology.size, "bytes": checkpoint.bytes_read})
    return Part(model, weights, chosen, checkpoint.bytes_read)
