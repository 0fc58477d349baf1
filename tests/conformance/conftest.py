"""A server without a model, for what any caller may send."""

from collections.abc import Iterator

import pytest

from tests.llama_inference.harness import Served, serve_mock


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """A ready server over the mock backend."""
    server, _ = serve_mock(max_body_bytes=100_000)
    with server:
        yield server.ready()
