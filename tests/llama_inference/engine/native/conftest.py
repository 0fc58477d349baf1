"""Fixtures of the native engine's tests, which all load torch."""

import copy
from collections.abc import Iterator

import pytest


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
