"""Fixtures of the native engine's tests; they load torch, so none is collected without the slow ones."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these modules alone where nothing in them would run: importing them takes seconds."""
    if collection_path.name.startswith("test_") and "not slow" in str(config.getoption("markexpr")):
        return True
    return None


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny products gain nothing from threads, and tests that run side by side lose."""
    import torch  # noqa: PLC0415

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def words() -> object:
    """The tiny Llama's tokenizer."""
    from tests.support import tiny_llama  # noqa: PLC0415

    return tiny_llama.tokenizer()


@pytest.fixture(scope="session")
def tiny(words: object) -> "object":
    """A tiny Llama with grouped heads: transformers' own, and the engine's bench on a copy of it."""
    from tests.llama_inference.engine.native import bench  # noqa: PLC0415

    model = bench.tiny_model()
    return bench.Bench(copy.deepcopy(model), model, words)
