"""Servers for what any caller may send: one without a model, and one whose engine computes a small one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.llama_inference.harness import LOADING_S, Served, serve_mock
from tests.llama_inference.process import MODULE, Process

NAME = "llama"


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """A ready server over the mock backend."""
    server, _ = serve_mock(max_body_bytes=100_000)
    with server:
        yield server.ready()


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A ready process with the native engine and the tiny Llama, in a batch that is small enough to be full."""
    from tests.support import tiny_llama  # noqa: PLC0415 - torch takes seconds, which only these tests pay

    folder: Path = tiny_llama.build(tmp_path_factory.mktemp("tiny") / "model")
    variables = {
        "MODEL_DIR": folder, "SERVED_NAME": NAME, "DTYPE": "float32", "MAX_QUEUE": 1000,
        "MAX_CONCURRENT_SEQUENCES": 32, "STEP_TOKENS": 96, "KV_CACHE_TOKENS": 4096,
    }  # fmt: skip
    with Process(*MODULE, **{f"LLAMA_INFERENCE_{name}": str(value) for name, value in variables.items()}) as it:
        yield it.ready(LOADING_S)
