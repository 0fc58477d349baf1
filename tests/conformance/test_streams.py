"""A thousand streams at once, most of whose callers go in the middle: nothing stays behind, as the metrics say."""

import asyncio
import json
import resource
import socket
import struct
from collections.abc import Iterator
from enum import Enum
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.llama_inference.harness import eventually
from tests.llama_inference.process import MOCK, MODULE, Process

pytestmark = pytest.mark.slow

CALLERS: Final = 1000
SHORT: Final = 11  # tokens with the prompt: two seconds
LONG: Final = 4096  # a quarter of an hour: who goes has to be noticed
STEP_S: Final = 0.2
RESET: Final = struct.pack("ii", 1, 0)  # for SO_LINGER: closing sends a reset
ROOM_BYTES: Final = 16 << 20  # what the allocator may keep after the second round; the first makes it warm
PATIENCE_S: Final = 120


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


def request(max_new_tokens: int) -> bytes:
    """A request for a stream."""
    body = json.dumps({"prompt": "x", "stream": True, "max_new_tokens": max_new_tokens}).encode()
    head = "POST /predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def call(port: int, manners: Manners) -> None:
    """One caller."""
    stays = manners in (Manners.STAYS, Manners.STAYS_HALF)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(SHORT if stays else LONG))
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


async def all_at_once(port: int) -> None:
    """As many of each manners, at the same time."""
    kinds = list(Manners)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(call(port, kinds[number % len(kinds)]) for number in range(CALLERS)))


def measure(process: Process) -> dict[str, float]:
    """Every unlabelled metric, by its name without the prefix."""
    families = text_string_to_metric_families(process.client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples if not sample.labels)
    return {sample.name.removeprefix("llama_inference_"): sample.value for sample in samples}


def test_a_thousand_streams_with_hang_ups_leave_nothing_behind(process: Process) -> None:
    """Slots, tasks, descriptors and memory are what they were; who stayed has got everything."""
    port = int(process.url.rpartition(":")[2])
    fresh = measure(process)
    asyncio.run(all_at_once(port))
    eventually(lambda: same(fresh, measure(process)), "tasks and descriptors as before", PATIENCE_S)
    warm = measure(process)
    asyncio.run(all_at_once(port))
    eventually(lambda: same(fresh, measure(process)), "tasks and descriptors as before", PATIENCE_S)
    after = measure(process)
    grown = after["process_resident_memory_bytes"] - warm["process_resident_memory_bytes"]
    assert grown < ROOM_BYTES
    stayed = 2 * CALLERS * 2 / len(Manners)
    text = process.client.get("/metrics").text
    finished = sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "llama_inference_request_success_total"
    )
    assert finished >= stayed
    assert not [row for row in process.log if row["level"] in ("error", "critical")]


def same(fresh: dict[str, float], now: dict[str, float]) -> bool:
    """Whether nothing runs or waits, and there are no more tasks and descriptors than at first."""
    none = now["num_requests_running"] == now["num_requests_waiting"] == 0
    return none and all(now[name] <= fresh[name] for name in ("event_loop_tasks", "process_open_fds"))
