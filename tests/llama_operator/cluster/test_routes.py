"""Whether a Service is reached, asked of real sockets."""

import asyncio
import socket
from typing import Any

from llama_operator.cluster.routes import TcpRoutes


def a_service(port: int, address: str = "127.0.0.1") -> dict[str, Any]:
    """A Service at that address."""
    return {"spec": {"clusterIP": address, "ports": [{"port": port}]}}


async def test_a_port_where_somebody_listens_is_not_refused() -> None:
    """The connection is closed again, and nothing was sent over it."""
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        assert not await TcpRoutes().refuses(a_service(server.sockets[0].getsockname()[1]))
        assert await received == b""


async def test_a_port_where_nobody_listens_is_refused() -> None:
    """As a node does for a Service without endpoints."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert await TcpRoutes().refuses(a_service(bound.getsockname()[1]))


async def test_silence_is_no_refusal() -> None:
    """A full backlog answers nothing, like a packet that a policy drops: others may still get through."""
    with socket.socket() as bound, socket.socket() as first, socket.socket() as second:
        bound.bind(("127.0.0.1", 0))
        bound.listen(0)
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex(bound.getsockname())
        assert not await TcpRoutes(timeout_seconds=0.05).refuses(a_service(bound.getsockname()[1]))


async def test_a_service_without_an_address_is_not_tried() -> None:
    """A headless one has none."""
    assert not await TcpRoutes().refuses(a_service(1, "None"))
