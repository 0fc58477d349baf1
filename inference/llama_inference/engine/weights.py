"""Weights and tokenizer: a folder on disk → on the device. Imports torch and transformers: engine thread only."""

import gc
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from llama_inference.engine import processors
from llama_inference.engine.device import choose_dtype, has_native_bf16
from llama_inference.engine.progress import Progress
from llama_inference.engine.reading import counted
from llama_inference.engine.selection import CONFIG
from llama_inference.errors import LoadError, LoadReason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model on its device, in evaluation mode, and its tokenizer."""

    model: Any  # a transformers causal language model; its classes are built at run time
    tokenizer: PreTrainedTokenizerBase
    dtype: str
    device: str


def quiet() -> None:
    """Send transformers' own log through ours, without progress bars."""
    transformers.utils.logging.disable_default_handler()
    transformers.utils.logging.enable_propagation()
    transformers.utils.logging.disable_progress_bar()


def check_architecture(folder: Path) -> None:
    """Check, from `config.json` alone, that transformers itself knows how to run this model.

    Raises:
        LoadError: UnsupportedArchitecture, or BrokenRepository when the file is no configuration.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        message = f"{CONFIG} of commit {folder.name} is no configuration ({error}): choose another revision"
        raise LoadError(LoadReason.BROKEN_REPOSITORY, message) from error
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        architecture = ", ".join(config.get("architectures") or ["none"])
        message = (
            f"the model's type is {kind!r} (architecture {architecture}), which transformers {transformers.__version__}"
            " does not run without code from the repository: choose a Llama-architecture model"
        )
        raise LoadError(LoadReason.UNSUPPORTED_ARCHITECTURE, message)


def load(folder: Path, dtype: str, progress: Progress | None = None) -> Loaded:
    """Load a snapshot in `dtype` (`auto`, `float32`, `float16`, `bfloat16`) onto the GPUs, or the CPU without one.

    What is in memory is counted in `progress`.

    Raises:
        LoadError: LoadFailed with what torch or transformers says.
    """
    quiet()
    gpus = torch.cuda.device_count()
    chosen = choose_dtype(dtype, gpu=gpus > 0, native_bf16=has_native_bf16())
    torch.set_num_threads(processors.found().threads)
    # Several GPUs: accelerate spreads the layers. One: everything on it, so that too little memory is an error here
    # and not a model that silently computes on the CPU.
    placement = "auto" if gpus > 1 else {"": "cuda:0" if gpus else "cpu"}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with counted(folder, progress):
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, chosen),
                device_map=placement,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
    except Exception as error:
        gc.collect()  # what was loaded so far must not stand in the way of the next try
        if gpus:
            torch.cuda.empty_cache()
        summary = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        log.exception("the model cannot be loaded")
        message = f"the model cannot be loaded as {chosen} ({summary}): {way_out(error)}"
        short_of_memory = isinstance(error, torch.OutOfMemoryError)
        raise LoadError(LoadReason.GPU_OUT_OF_MEMORY if short_of_memory else LoadReason.LOAD_FAILED, message) from error
    model.eval()
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    return Loaded(model, tokenizer, chosen, ",".join(devices))


def way_out(error: Exception) -> str:
    """Return what to do about an error of loading, by what it is about: memory, files, or neither."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
        return "it needs more memory: raise spec.resources, or choose a smaller spec.engine.dtype"
    if isinstance(error, (OSError, SafetensorError)):
        return "its files are incomplete or damaged: choose another revision"
    return "its files are not of one model, or not of this engine's: choose another revision, or another engine"
