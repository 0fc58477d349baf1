"""Start-up reports from pods: a real server on the other side, and one that means no good."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from llama_operator.cluster.startup import PodStartupReports, parse, reports_over_http
from llama_operator.plan.observed import Object
from tests.support.operator_objects import a_pod, a_report

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def at(address: str, name: str = "llama-1") -> Object:
    """A pod at an address."""
    return a_pod(name, podIP=address)


@asynccontextmanager
async def a_server(handler: Handler) -> AsyncGenerator[tuple[PodStartupReports, list[str]]]:
    """What asks a server that answers with `handler`, and the paths that were asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return await handler(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server, reports_over_http(port=server.port or 0) as reports:
        yield reports, asked


def answers(body: bytes, status: int = 503, **headers: str) -> Handler:
    """A server that always answers this."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return handler


async def test_a_report_is_read_while_the_pod_is_not_ready() -> None:
    """503 is the answer of a server that starts."""
    said = json.dumps(a_report("Download", bytes_done=1, bytes_total=4)).encode()
    async with a_server(answers(said)) as (reports, asked):
        found = await reports.of([at("127.0.0.1")])
    assert asked == ["/startupz"]
    assert found["llama-1"]["stage"] == "Download"
    assert found["llama-1"]["stages"][1]["bytes_total"] == 4


async def test_a_pod_that_does_not_answer_has_no_report() -> None:
    """The others have theirs."""
    async with a_server(answers(b'{"stage": "Load"}')) as (reports, _):
        found = await reports.of([at("127.0.0.2", "deaf"), at("127.0.0.1"), at("::1", "deaf-too")])
    assert list(found) == ["llama-1"]


async def test_a_pod_that_hangs_has_no_report() -> None:
    """It is given up after a moment."""

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with a_server(hang) as (reports, asked):
        reports.timeout_seconds = 0.05
        assert await reports.of([at("127.0.0.1")]) == {}
    assert asked


async def test_a_redirect_is_not_followed() -> None:
    """A pod cannot send the operator to an address of its choice."""
    async with a_server(answers(b"", 302, Location="/elsewhere")) as (reports, asked):
        assert await reports.of([at("127.0.0.1")]) == {}
    assert asked == ["/startupz"]


async def test_an_endless_answer_is_cut_off() -> None:
    """After 64 KiB nobody listens any more."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        stream = web.StreamResponse()
        await stream.prepare(request)
        try:
            while True:
                await stream.write(b'{"stage": "' + b"x" * 65536)
                sent += 65536
        except ConnectionError:
            return stream

    async with a_server(endless) as (reports, _):
        assert await reports.of([at("127.0.0.1")]) == {}
    assert sent < 2**24


async def test_a_proxy_for_the_outside_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not know the pods' addresses."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with a_server(answers(b'{"stage": "Load"}')) as (reports, _):
        assert await reports.of([at("127.0.0.1")])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not JSON",
        b"[]",
        b"null",
        b'{"stage": 5}',
        b'{"stages": {"name": "Load"}}',
        b'{"stages": [{"name": "Unheard", "state": "done"}]}',
        b'{"stages": [{"name": "Load", "state": "maybe"}]}',
        b'{"stages": [{"name": "Load", "state": "done", "started": "yesterday"}]}',
        b'{"stages": [{"name": "Load", "state": "done", "started": "2026-11-24T08:00:00"}]}',
        b'{"stages": [{"name": "Load", "state": "done", "seconds": -1}]}',
        b'{"stages": [{"name": "Load", "state": "done", "seconds": 1e999}]}',
        b'{"stages": [{"name": "Load", "state": "done", "seconds": NaN}]}',
        b'{"stages": [{"name": "Load", "state": "done", "bytes_done": 1e300}]}',
        b'{"stages": [{"name": "Load", "state": "done", "bytes_done": "5"}]}',
        b'{"error": "none"}',
        b'{"error": {"reason": ["x"]}}',
        json.dumps({"commit": "x" * 254}).encode(),
        json.dumps({"error": {"reason": "x", "message": "y" * 5000}}).encode(),
        json.dumps({"stages": [{"name": "Load", "state": "done"}] * 6}).encode(),
        b'{"stages":' + b"[" * 10000,
    ],
)
def test_what_is_no_report_is_refused(answer: bytes) -> None:
    """Wrong types, numbers out of range and words without end come no further."""
    with pytest.raises(ValidationError):
        parse(answer)


def test_unknown_fields_are_left_out() -> None:
    """A newer server may say more."""
    said: dict[str, Any] = {"stage": "Load", "new": {"x": 1}, "error": {"reason": "DiskFull", "new": 1}}
    assert parse(json.dumps(said).encode()) == {
        "stage": "Load",
        "ready": False,
        "stages": [],
        "error": {"reason": "DiskFull", "message": ""},
    }


def test_times_are_told_in_utc() -> None:
    """Whatever zone the server writes them in."""
    said = {"stages": [{"name": "Load", "state": "running", "started": "2026-11-24T10:00:00+02:00"}]}
    assert parse(json.dumps(said).encode())["stages"][0]["started"] == "2026-11-24T08:00:00Z"
