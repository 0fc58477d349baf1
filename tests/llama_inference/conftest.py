"""Fixtures of the server's tests: a shared server without a model, and one small real model for what needs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llama_inference.backends.opening import open_backend
from tests.llama_inference.harness import Gate, PacedBackend, Served, serve, serve_mock, settings
from tests.llama_inference.repository import NAME, Repository, fresh
from tests.support.hub import HubServer

if TYPE_CHECKING:
    from tests.support.tiny_llama import Reference


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """A ready server over the mock backend, shared: only for tests that leave it as it is."""
    server, _ = serve_mock(max_body_bytes=100_000)
    with server:
        yield server.ready()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A closed gate for the mock's steps; opened at the end, so that nothing stays behind."""
    gate = Gate(is_open=False)
    yield gate
    gate.open()


@pytest.fixture(scope="session")
def _paced() -> Iterator[tuple[Served, PacedBackend]]:
    server, backend = serve_mock(Gate(), max_queue=1)
    with server:
        yield server.ready(), backend


@pytest.fixture
def paced(_paced: tuple[Served, PacedBackend]) -> Iterator[tuple[Served, PacedBackend]]:
    """A ready server with one place in its queue, whose steps the test lets pass; idle, and its counts at zero."""
    served, backend = _paced
    backend.begin_anew()
    yield served, backend
    backend.gate.open()
    served.waits_for(running=0, waiting=0)


@pytest.fixture(scope="session")
def _hub() -> Iterator[HubServer]:
    with HubServer() as hub:
        hub.tokens.add("hf_reader", account="alice", grants=[NAME])
        hub.tokens.add("hf_stranger", account="bob")
        yield hub


@pytest.fixture
def repository(_hub: HubServer, tmp_path: Path) -> Iterator[Repository]:
    """A public repository on the test Hub, with an empty cache and no token."""
    with fresh(_hub, tmp_path) as repository:
        yield repository


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny Llama."""
    from tests.support import tiny_llama  # noqa: PLC0415 - torch takes seconds, which only slow tests pay

    return tiny_llama.build(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def llama_2_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model like Llama 2, whose tokenizer writes rare characters in bytes."""
    from tests.support import llama2_like  # noqa: PLC0415 - torch takes seconds, which only slow tests pay

    return llama2_like.build(tmp_path_factory.mktemp("llama2") / "model")


@pytest.fixture(scope="session")
def reference(tiny_dir: Path) -> "Reference":
    """Transformers itself, on the same weights."""
    from tests.support.tiny_llama import Reference  # noqa: PLC0415

    return Reference(tiny_dir)


@pytest.fixture(scope="session")
def tiny(tiny_dir: Path) -> Iterator[Served]:
    """A ready server over the tiny Llama in float32."""
    opened = settings(backend="transformers", model_dir=tiny_dir, dtype="float32")
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics), model=NAME) as served:
        yield served.ready()
