"""A model's folder as one table of tensors, of which parts are read; and the model's shape without its weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.division import Cut
from llama_inference.errors import LoadError, LoadReason

INDEX: Final = "model.safetensors.index.json"
SINGLE: Final = "model.safetensors"
_ANOTHER: Final = "they are not whole, or not this model's; choose another revision"


class Checkpoint:
    """The safetensors of a folder.

    Attributes:
        bytes_read: size of all parts that were read.
    """

    def __init__(self, folder: Path, *, on_read: Callable[[int], None] = lambda _: None) -> None:
        """Read which file holds which tensor; `on_read` is told the size of each part that is read.

        Raises:
            LoadError: LoadFailed when the folder does not say.
        """
        self._folder = folder
        self._on_read = on_read
        self.bytes_read = 0
        try:
            if (folder / INDEX).is_file():
                self._files: dict[str, str] = json.loads((folder / INDEX).read_text())["weight_map"]
            else:
                with safe_open(folder / SINGLE, "pt") as file:
                    self._files = dict.fromkeys(file.keys(), SINGLE)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise LoadError(
                LoadReason.LOAD_FAILED, f"the weights in {folder.name} cannot be read ({error}): {_ANOTHER}"
            ) from error

    def sizes(self) -> dict[str, int]:
        """Return how many bytes each tensor has in its file.

        Raises:
            LoadError: LoadFailed when a file does not say.
        """
        found: dict[str, int] = {}
        try:
            for file in sorted(set(self._files.values())):
                with (self._folder / file).open("rb") as opened:
                    length = int.from_bytes(opened.read(8), "little")
                    header: dict[str, dict[str, Any]] = json.loads(opened.read(length))
                rows = ((name, row["data_offsets"]) for name, row in header.items() if name != "__metadata__")
                found |= {name: end - begin for name, (begin, end) in rows}
        except (OSError, ValueError, KeyError) as error:
            message = f"the weights in {self._folder.name} cannot be read ({error}): {_ANOTHER}"
            raise LoadError(LoadReason.LOAD_FAILED, message) from error
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a whole tensor; raises as `read_into`."""
        with self._open(name) as file:
            return tuple(file.get_slice(name).get_shape())

    def read_into(self, target: Tensor, name: str, cut: Cut | None) -> None:
        """Copy a part of a tensor, None for all of it, converted to the target's dtype.

        The file is mapped for this one tensor only: what stays in memory is the target.

        Raises:
            LoadError: LoadFailed when there is no such tensor, or it has another shape.
        """
        with self._open(name) as file:
            view = file.get_slice(name)
            if cut is None:
                piece = view[:]
            elif cut.dim == 0:
                piece = view[cut.first : cut.last]
            else:
                piece = view[:, cut.first : cut.last]
            if piece.shape != target.shape:
                message = f"{name} has a part of {list(piece.shape)} where {list(target.shape)} is expected: {_ANOTHER}"
                raise LoadError(LoadReason.LOAD_FAILED, message)
            target.copy_(piece)
            size = piece.numel() * piece.itemsize
            self.bytes_read += size
            self._on_read(size)

    def _open(self, name: str) -> safe_open:
        file = self._files.get(name)
        if file is None:
            raise LoadError(LoadReason.LOAD_FAILED, f"the weights in {self._folder.name} hold no {name}: {_ANOTHER}")
        try:
            return safe_open(self._folder / file, "pt")
        except (OSError, SafetensorError) as error:
            raise LoadError(LoadReason.LOAD_FAILED, f"{file} cannot be read ({error}): {_ANOTHER}") from error


def skeleton(folder: Path, dtype: torch.dtype, device: torch.device) -> Pretrained:
    """Return the model of a folder without weights: its configuration, plan, processors and rotary embedding.

    Its embedding's weight has the right shape, dtype and device, and takes no memory.
    """
    config: Pretrained = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model: Pretrained = AutoModelForCausalLM.from_config(config, dtype=dtype)
    decoder = model.model
    decoder.rotary_emb = type(decoder.rotary_emb)(config=config).to(device)
    nothing = torch.empty((), dtype=dtype, device=device).expand(decoder.embed_tokens.weight.shape)
    decoder.embed_tokens.weight = nn.Parameter(nothing, requires_grad=False)
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model.eval()
