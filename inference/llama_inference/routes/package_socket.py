"""`/v1/websocket` of a Truss package: messages both ways, and each side's close handed on with its code and reason."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastapi import APIRouter, WebSocket
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketState
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from llama_inference.errors import RequestError
from llama_inference.package.upstream import passed_on
from llama_inference.routes.package import Package, sent_headers

log = logging.getLogger(__name__)
PATH: Final = "/v1/websocket"
LARGEST_MESSAGE: Final = 100 << 20  # bytes, as the truss server has it
HANDSHAKE: Final = frozenset(
    {
        b"host", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol",
        b"content-length",
    }
)  # fmt: skip
GOING_AWAY: Final = 1001
FAILED: Final = 1011
Guard = Callable[[HTTPConnection], Awaitable[None]]


def router(package: Package, socket: Path, guard: Guard) -> APIRouter:
    """Return the route; `guard` raises where a caller has no API key that is accepted."""
    routes = APIRouter()

    @routes.websocket(PATH)
    async def talk(websocket: WebSocket) -> None:  # pyright: ignore[reportUnusedFunction] - FastAPI keeps it
        try:
            await guard(websocket)
            package.check()
            exchange = package.exchanges.take(arrived=time.monotonic())
        except RequestError as error:
            await _refuse(websocket, error)
            return
        failure: BaseException | None = None
        try:
            await exchange.run(_talk(package, socket, websocket))
        except (RequestError, OSError, InvalidHandshake, TimeoutError) as error:
            failure = error
            log.warning("a websocket broke off", extra={"detail": str(error)})
            await _close(websocket, GOING_AWAY if isinstance(error, RequestError) else FAILED, str(error))
        finally:
            exchange.finish(failure)

    return routes


async def _refuse(websocket: WebSocket, error: RequestError) -> None:
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    await websocket.send_denial_response(JSONResponse({"error": str(error)}, error.status, headers))


async def _talk(package: Package, socket: Path, websocket: WebSocket) -> None:
    headers = passed_on(sent_headers(package, websocket), without=HANDSHAKE)
    protocols = websocket.scope.get("subprotocols") or None
    query = websocket.scope["query_string"].decode()
    async with unix_connect(
        str(socket),
        f"ws://package{PATH}{'?' + query if query else ''}",
        additional_headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
        subprotocols=protocols,
        max_size=LARGEST_MESSAGE,
        compression=None,
        user_agent_header=None,
    ) as package_side:
        await websocket.accept(subprotocol=package_side.subprotocol)
        sides = (_to_package(websocket, package_side), _to_caller(websocket, package_side))
        tasks = [asyncio.create_task(side) for side in sides]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    log.warning("a websocket broke off", extra={"detail": str(result)})


async def _to_package(websocket: WebSocket, package_side: ClientConnection) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code") or 1000
            # 1005 and 1006 only say that no code came; they cannot be sent.
            await package_side.close(code if code not in (1005, 1006) else GOING_AWAY, message.get("reason") or "")
            return
        text = message.get("text")
        with suppress(ConnectionClosed):
            await package_side.send(message["bytes"] if text is None else text)


async def _to_caller(websocket: WebSocket, package_side: ClientConnection) -> None:
    try:
        while True:
            message = await package_side.recv()
            await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
    except ConnectionClosed as closed:
        code, reason = (FAILED, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)
        await _close(websocket, code, reason)


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    if websocket.application_state is WebSocketState.CONNECTED:
        with suppress(RuntimeError):  # the caller has closed it meanwhile
            await websocket.close(code, reason[:100])
    elif websocket.application_state is WebSocketState.CONNECTING:
        await websocket.close(code, reason[:100])
