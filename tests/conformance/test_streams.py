"""A thousand streams at once, most of whose callers go in the middle: nothing stays behind, as the metrics say."""

import asyncio
import json
import resource
import socket
import struct
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import pytest

from tests.conformance.left import PATIENCE_S, measure, nothing_stays, total
from tests.llama_inference.process import MOCK, MODULE, Process

pytestmark = pytest.mark.slow

CALLERS: Final = 1000
SHORT: Final = 11  # tokens with the prompt: two seconds
LONG: Final = 4096  # a quarter of an hour: who goes has to be noticed
STEP_S: Final = 0.2
RESET: Final = struct.pack("ii", 1, 0)  # for SO_LINGER: closing sends a reset
ROOM_BYTES: Final = 16 << 20  # what the allocator may keep after the second round; the first makes it warm
OF_AN_ENGINE: Final = 200
CONTEXT: Final = 256  # of the tiny Llama: a second of computing, and more in company
ALONE: Final = {"prompt_lookup_num_tokens": 3}  # what the engine's batch does not cover


class Manners(Enum):
    """How a caller behaves."""

    STAYS = "reads to the end"
    STAYS_HALF = "closes its sending side, and reads to the end"
    GOES_AT_ONCE = "closes once it has asked"
    GOES_LATER = "closes after the first event"
    RESETS = "resets the connection after the first event"


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    """A real process over the mock, in which all of them run at the same time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    variables = {
        "MOCK_STEP_SECONDS": STEP_S, "MAX_QUEUE": CALLERS, "MAX_CONCURRENT_SEQUENCES": CALLERS,
    }  # fmt: skip
    with Process(*MODULE, **MOCK, **{f"LLAMA_INFERENCE_{name}": str(value) for name, value in variables.items()}) as it:
        yield it.ready()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def request(tokens: int, **more: Any) -> bytes:
    """A request for a stream that becomes as long as it may."""
    stream = {"prompt": "x", "stream": True, "max_new_tokens": tokens, "min_length": tokens, **more}
    body = json.dumps(stream).encode()
    head = "POST /predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def call(port: int, manners: Manners, longest: int, **more: Any) -> None:
    """One caller; who goes has asked for `longest`."""
    stays = manners in (Manners.STAYS, Manners.STAYS_HALF)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(SHORT if stays else longest, **more))
        await writer.drain()
        if manners is Manners.GOES_AT_ONCE:
            return
        await reader.readuntil(b"data: ")
        if manners is Manners.RESETS:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif manners is Manners.STAYS_HALF:
            writer.write_eof()
        if stays:
            answer = await reader.read()
            assert b'"finish_reason":["length"]' in answer
            assert b"data: [DONE]" in answer
    finally:
        writer.close()


async def all_at_once(port: int, callers: int, longest: int) -> None:
    """As many of each manners, at the same time; a few of each ask for what runs alone."""
    kinds = list(Manners)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(
            *(
                call(port, kinds[number % len(kinds)], longest, **(ALONE if number % 40 < len(kinds) else {}))
                for number in range(callers)
            )
        )


def port_of(process: Process) -> int:
    """Where it listens."""
    return int(process.url.rpartition(":")[2])


def test_a_thousand_streams_with_hang_ups_leave_nothing_behind(process: Process) -> None:
    """Slots, tasks, descriptors and memory are what they were; who stayed has got everything."""
    fresh = measure(process)
    asyncio.run(all_at_once(port_of(process), CALLERS, LONG))
    nothing_stays(process, fresh)
    warm = measure(process)
    asyncio.run(all_at_once(port_of(process), CALLERS, LONG))
    nothing_stays(process, fresh)
    after = measure(process)
    grown = after["process_resident_memory_bytes"] - warm["process_resident_memory_bytes"]
    assert grown < ROOM_BYTES
    assert total(process, "request_success_total") >= 2 * CALLERS * 2 / len(Manners)


def test_streams_of_the_engine_with_hang_ups_leave_nothing_behind(native: Process) -> None:
    """Slots and keys and values among them; many are given up while they are computed, and who comes next is served."""
    fresh, before = measure(native), total(native, "request_success_total")
    asyncio.run(all_at_once(port_of(native), OF_AN_ENGINE, CONTEXT))
    nothing_stays(native, fresh)
    assert total(native, "request_success_total") - before >= OF_AN_ENGINE * 2 / len(Manners)
    assert total(native, "requests_abandoned_total", reason="hung_up") >= OF_AN_ENGINE / len(Manners)
    assert native.client.post("/predict", json={"prompt": "x", "max_new_tokens": 9}).status_code == 200
