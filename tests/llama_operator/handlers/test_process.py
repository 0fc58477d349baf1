"""The way down: what is at work ends first, then what it works with is closed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kopf._cogs.clients import scanning

from llama_operator.cluster.lease import Leadership
from llama_operator.handlers import events, process
from llama_operator.handlers.process import nothing_outlived
from llama_operator.settings import Settings


async def straggle(told: list[str]) -> None:
    """Work on until ended, with a last word that takes a moment, as the closing of a request does."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        told.append("work ended")


async def test_the_clients_are_closed_when_nothing_works_with_them_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that nobody waits for is ended before the client that it reads with, and after the Lease is given back."""
    told: list[str] = []
    stragglers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def connected(_: object) -> AsyncGenerator[object]:
        yield object()
        told.append("client closed")

    def says(words: str) -> Callable[..., Awaitable[None]]:
        async def say(*_: Any) -> None:
            told.append(words)

        return say

    async def lead(*_: Any) -> None:
        stragglers.append(asyncio.create_task(straggle(told)))
        await asyncio.sleep(0)
        told.append("led")

    monkeypatch.setattr(process, "connected", connected)
    monkeypatch.setattr(Leadership, "acquire", says("leading"))
    monkeypatch.setattr(Leadership, "release", says("lease given back"))
    monkeypatch.setattr(process._Leader, "lead", lead)  # pyright: ignore[reportPrivateUsage]
    await process.run(Settings(health_port=0, lease_namespace="operators", inference_image="server:1"))
    assert told == ["leading", "led", "lease given back", "work ended", "client closed"]
    assert stragglers[0].cancelled()


async def test_what_was_there_before_is_left_alone() -> None:
    """It is not of this block."""
    told: list[str] = []
    before = asyncio.create_task(straggle(told))
    await asyncio.sleep(0)
    async with nothing_outlived():
        within = asyncio.create_task(straggle(told))
        await asyncio.sleep(0)
    assert within.cancelled()
    assert not before.done()
    before.cancel()
    await asyncio.wait({before})


async def test_work_that_fails_as_it_is_ended_is_no_error_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its failure is retrieved, or the loop would report it as one that nobody saw."""

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("Session is closed")

    async with nothing_outlived():
        task = asyncio.create_task(fails())
        await asyncio.sleep(0)
    assert task.done()
    assert not [row for row in caplog.records if row.levelname == "ERROR"]


async def test_what_kopf_asks_at_its_start_is_ended_before_its_connections_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It asks in tasks of which it knows nothing any more: with their connector closed they would log errors."""
    told: list[str] = []
    asked = asyncio.Event()

    async def get(url: str, **_: object) -> dict[str, Any]:
        if url == "/apis":
            return {
                "groups": [{"name": "apps", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}]
            }
        asked.set()
        await straggle(told)
        return {}

    async def kopf_runs() -> None:
        looking = asyncio.create_task(scanning.scan_resources(settings=events.settings(), logger=logging.getLogger()))
        try:
            await asyncio.Event().wait()
        finally:
            looking.cancel()
            await asyncio.wait({looking})
            told.append("connections closed")

    monkeypatch.setattr("kopf._cogs.clients.api.get", get)
    watching = asyncio.create_task(process._until_ended(asyncio.ensure_future(kopf_runs())))  # pyright: ignore[reportPrivateUsage]
    await asked.wait()
    watching.cancel()
    await asyncio.wait({watching})
    assert watching.cancelled()
    assert told == ["work ended", "work ended", "connections closed"]
