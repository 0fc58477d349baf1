"""Probes and metrics over HTTP."""

import socket
from collections.abc import AsyncGenerator

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from llama_operator.errors import PortError
from llama_operator.handlers.health import Health, State, serving
from llama_operator.handlers.metrics import Metrics


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as found:
        yield found


@pytest.mark.parametrize(
    ("state", "status"),
    [(State.STARTING, 503), (State.STANDING_BY, 200), (State.LEADING, 200), (State.STOPPING, 503)],
)
async def test_readiness_is_doing_ones_part(session: aiohttp.ClientSession, state: State, status: int) -> None:
    """Standing by counts; liveness holds in every state."""
    health, port = Health(state), unused_port()
    async with serving(health, Metrics(), port):
        async with session.get(f"http://127.0.0.1:{port}/readyz") as ready:
            assert (ready.status, await ready.json()) == (status, {"state": state.value})
        async with session.get(f"http://127.0.0.1:{port}/healthz") as live:
            assert live.status == 200


async def test_metrics_are_in_the_format_of_prometheus(session: aiohttp.ClientSession) -> None:
    """With the content type that says which."""
    metrics, port = Metrics(), unused_port()
    metrics.lead(lambda: 3)
    metrics.reconciled("ok", 0.2)
    async with serving(Health(), metrics, port), session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
        assert answer.content_type == "text/plain"
    for line in ("llama_operator_leading 1.0", "llama_operator_queued 3.0", "llama_operator_reconcile_seconds_sum 0.2"):
        assert line in text


async def test_a_port_that_is_taken_names_the_setting() -> None:
    """Whoever starts it knows what to set."""
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=f"port {port} cannot be had .*set LLAMA_OPERATOR_HEALTH_PORT"):
            async with serving(Health(), Metrics(), port):
                pass
