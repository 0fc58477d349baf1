"""Callers that cost as little as can be: bytes are counted, not parsed, since both sides share the machine."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

EVENT: Final = b'data: {"index"'
PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One stream: its tokens, and seconds to the first."""

    tokens: int
    first_s: float


class _Stream(asyncio.Protocol):
    def __init__(self, request: bytes, end: bytes) -> None:
        self._request = request
        self._end = end
        self._tail = b""
        self._began = time.perf_counter()
        self.first_s: float | None = None
        self.tokens = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        # What ends a piece may begin the next; an event that was counted whole is not counted again.
        joined = self._tail + data
        found = joined.count(EVENT)
        self.tokens += found
        if found and self.first_s is None:
            self.first_s = time.perf_counter() - self._began
        keep = len(EVENT) - 1
        self._tail = joined[-keep:] if keep else b""
        if self._end in joined and not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up before the end"))


async def stream_all(url: str, streams: int, tokens: int) -> list[Answered]:
    """Open so many streams at once, and read them to their ends."""
    loop, request = asyncio.get_running_loop(), _request(url, tokens, stream=True)
    address = urlsplit(url)
    host, port = address.hostname or "127.0.0.1", address.port or 80
    opened = [await loop.create_connection(lambda: _Stream(request, b"[DONE]"), host, port) for _ in range(streams)]
    protocols = [protocol for _, protocol in opened]
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(protocol.done for protocol in protocols))
    return [Answered(protocol.tokens, protocol.first_s or 0.0) for protocol in protocols]


async def ask_again_and_again(url: str, callers: int, seconds: float) -> float:
    """Let so many callers ask for one token, one request after the other; return answers a second."""
    until = time.perf_counter() + seconds
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE_S):
        counts = await asyncio.gather(*(_asks(url, until) for _ in range(callers)))
    return sum(counts) / (time.perf_counter() - began)


async def _asks(url: str, until: float) -> int:
    address, request = urlsplit(url), _request(url, 1, stream=False)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    count = 0
    try:
        while time.perf_counter() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(head.decode().splitlines()[0])
            length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            count += 1
    finally:
        writer.close()
    return count


def _request(url: str, tokens: int, *, stream: bool) -> bytes:
    body = {"prompt": "Hi", "max_new_tokens": 2 + tokens, "num_beams": 1, "do_sample": False, "stream": stream}
    content = json.dumps(body).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: {urlsplit(url).netloc}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
