"""One vLLM on SmolLM2 for all tests; its model's folder is in LLAMA_TEST_MODEL."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from llama_inference.backends.opening import open_backend
from tests.llama_inference.harness import Served, eventually, serve, settings

collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]


@pytest.fixture(scope="session")
def model() -> Path:
    """The folder of SmolLM2-135M-Instruct."""
    return Path(os.environ["LLAMA_TEST_MODEL"])


@pytest.fixture(scope="session")
def lost() -> list[str]:
    """Why the server lost its engine, once it has."""
    return []


@pytest.fixture(scope="session")
def served(model: Path, lost: list[str]) -> Iterator[Served]:
    """A ready server over vLLM, in float32 and without its compiler, which takes minutes."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    opened = settings(
        backend="vllm", model_dir=model, dtype="float32", max_context_tokens=512, max_concurrent_sequences=16,
        vllm_arguments={"enforce_eager": True},
    )  # fmt: skip
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics), lost=lost) as server:
        eventually(lambda: server.server.serving.lifecycle.ready, "vLLM being ready", 600)
        yield server
    server.server.serving.backend.close()  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
