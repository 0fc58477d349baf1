"""The gateway over real connections: callers are held, woken for once, served once, and told the truth."""

import asyncio
import gzip
import io
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from llama_operator.plan.activity import Pods
from tests.llama_operator.gateway.conftest import Stand, Stands, until

pytestmark = pytest.mark.slow  # real servers, and waits that take their time


async def ask(stand: Stand, body: bytes = b"hello") -> tuple[int, bytes]:
    """POST to predict; status and body."""
    async with stand.session.post(stand.url, data=body) as answer:
        return answer.status, await answer.read()


async def test_many_waiting_calls_wake_the_model_once(gateway: Stands) -> None:
    """Each of them is answered, by a pod that was asked exactly once for it."""
    async with gateway.asleep() as stand:
        waking = asyncio.create_task(stand.operator())
        bodies = [str(number).encode() for number in range(300)]
        answers = await asyncio.gather(*(ask(stand, body) for body in bodies))
        await waking
        assert answers == [(200, body) for body in bodies]
        assert sorted(stand.model.asked) == sorted(bodies)
        assert await stand.metric("llama_gateway_wakes_total") == 1
        assert await stand.metric('llama_gateway_requests_total{outcome="forwarded"}') == 300


async def test_those_that_waited_are_let_through_as_the_server_has_room(gateway: Stands) -> None:
    """A server's queue is bounded; none of them is to be answered 429."""
    at_work: list[int] = []
    most: list[int] = []

    async def work(_: web.Request) -> web.Response:
        at_work.append(1)
        most.append(len(at_work))
        await asyncio.sleep(0.01)
        at_work.pop()
        return web.Response()

    async with gateway.asleep(at_once=3) as stand:
        stand.model.handler = work
        waking = asyncio.create_task(stand.operator())
        await asyncio.gather(*(ask(stand) for _ in range(20)))
        await waking
        assert (len(most), max(most)) == (20, 3)


async def test_the_server_is_told_who_asked(gateway: Stands) -> None:
    """Else its log would have the gateway alone; what a proxy in front has said stands before our word."""
    told: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        told.append({name: value for name, value in request.headers.items() if name.startswith("X-Forwarded")})
        return web.Response()

    async with gateway.awake() as stand:
        stand.model.handler = note
        host = f"127.0.0.1:{stand.settings.port}"
        await ask(stand)
        before = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "llama.example"}
        async with stand.session.post(stand.url, data=b"x", headers=before):
            pass
    ours = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": host}
    assert told == [ours, {**before, "X-Forwarded-For": "203.0.113.7, 127.0.0.1"}]


async def test_a_call_that_has_waited_long_enough_is_told_when_to_come_again(gateway: Stands) -> None:
    """By the last start, which took 42 s; and the model is woken for the next one."""
    async with gateway.asleep(hold_seconds=0.05) as stand, stand.session.post(stand.url, data=b"x") as answer:
        body = await answer.json()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "42")
        assert body["status"] == "error"
        assert body["error"]["code"] == "model_starting"
        assert "42 s" in body["message"]
        await until(lambda: stand.lease.wanted)


async def test_more_calls_than_may_wait_are_turned_away_at_once(gateway: Stands) -> None:
    """The others go on waiting."""
    async with gateway.asleep(max_held_requests=2) as stand:
        waiting = [asyncio.create_task(ask(stand)) for _ in range(2)]
        await stand.reaches("llama_gateway_held", 2)
        status, _ = await ask(stand)
        assert status == 503
        await stand.operator()
        assert await asyncio.gather(*waiting) == [(200, b"hello")] * 2


async def test_a_model_that_is_stopped_is_not_woken(gateway: Stands) -> None:
    """`spec.replicas: 0` is somebody's decision."""
    async with gateway.stopped() as stand:
        await until(lambda: stand.cluster.calls)
        async with stand.session.post(stand.url, data=b"x") as answer:
            assert answer.status == 503
            assert (await answer.json())["error"]["code"] == "model_stopped"
        assert stand.cluster.writes == []


@pytest.mark.parametrize("path", ["metrics", "readyz", "v1/models"])
async def test_whoever_only_looks_wakes_nothing(gateway: Stands, path: str) -> None:
    """A scraper must not keep GPUs busy."""
    async with gateway.asleep() as stand:
        async with stand.session.get(stand.url.replace("predict", path)) as answer:
            assert answer.status == 503
        assert stand.cluster.writes == []


async def test_whoever_only_looks_is_answered_by_a_pod_where_there_is_one(gateway: Stands) -> None:
    """And it counts for no activity."""
    async with gateway.awake() as stand:
        await ask(stand)
        async with stand.session.get(stand.url.replace("predict", "v1/models")) as answer:
            assert answer.status == 200
        assert await stand.metric('llama_gateway_requests_total{outcome="forwarded"}') == 1


async def test_an_answer_passes_as_it_is(gateway: Stands) -> None:
    """Status, headers, a body larger than any buffer; and what is about one connection stays behind."""

    async def busy(request: web.Request) -> web.Response:
        assert len(stand.model.asked[0]) == 3_000_000
        said = {"Retry-After": "7", "X-Key": request.headers.get("Authorization", "")}
        assert "X-Hop" not in request.headers
        return web.Response(status=429, headers=said, body=b"y" * 3_000_000)

    async with gateway.awake() as stand:
        stand.model.handler = busy
        headers = {"Authorization": "Api-Key secret", "Connection": "keep-alive, X-Hop", "X-Hop": "1"}
        async with stand.session.post(
            f"{stand.url}?a=b%2Fc", data=io.BytesIO(b"x" * 3_000_000), headers=headers
        ) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
            assert answer.headers["X-Key"] == "Api-Key secret"
            assert await answer.read() == b"y" * 3_000_000


async def test_a_compressed_request_passes_as_it_is(gateway: Stands) -> None:
    """The pod is told that it is compressed, so it has to be."""
    body = gzip.compress(b'{"prompt": "x"}')

    async def tell(request: web.Request) -> web.Response:
        return web.json_response({"encoding": request.headers.get("Content-Encoding")})

    async with gateway.awake() as stand:
        stand.model.handler = tell
        headers = {"Content-Encoding": "gzip"}
        async with stand.session.post(stand.url, data=body, headers=headers) as answer:
            assert await answer.json() == {"encoding": "gzip"}
        assert stand.model.asked == [body]


async def test_a_whole_address_as_the_target_is_its_path(gateway: Stands) -> None:
    """What `curl -x` and some proxies send (RFC 9112, section 3.2.2)."""

    async def tell(request: web.Request) -> web.Response:
        return web.json_response({"target": request.raw_path})

    async with gateway.awake() as stand, asyncio.timeout(10):
        stand.model.handler = tell
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.settings.port)
        writer.write(b"GET http://llama.example/info?x=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b'{"target": "/info?x=1"}' in answer


async def test_a_stream_passes_piece_by_piece(gateway: Stands) -> None:
    """The second piece is only made once the first was received."""
    received = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await received.wait()
        await response.write(b"data: 2\n\n")
        return response

    async with gateway.awake() as stand:
        stand.model.handler = stream
        async with stand.session.post(stand.url, data=b"x") as answer:
            assert await answer.content.readuntil(b"\n\n") == b"data: 1\n\n"
            received.set()
            assert await answer.content.read() == b"data: 2\n\n"


async def test_a_caller_that_hangs_up_frees_the_pod(gateway: Stands) -> None:
    """The pod sees it, though the gateway stands between."""
    freed = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        try:
            await asyncio.Event().wait()
        finally:
            freed.set()
        return response

    async with gateway.awake() as stand:
        stand.model.handler = endless
        async with stand.session.post(stand.url, data=b"x") as answer:
            assert await answer.content.readany() == b"first"
            answer.close()
        async with asyncio.timeout(10):
            await freed.wait()
        await stand.reaches("llama_gateway_in_flight", 0)
        assert await stand.metric('llama_gateway_requests_total{outcome="hung_up"}') == 1


async def test_a_caller_that_gave_up_waiting_is_not_asked_for(gateway: Stands) -> None:
    """Nobody computes for nobody."""
    async with gateway.asleep() as stand:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(stand)
        await stand.reaches("llama_gateway_held", 0)
        await stand.operator()
        assert await ask(stand, b"another") == (200, b"another")
        assert stand.model.asked == [b"another"]


async def test_an_answer_that_breaks_off_is_seen_to(gateway: Stands) -> None:
    """The caller must not take a part for the whole."""

    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"part")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with gateway.awake() as stand:
        stand.model.handler = breaking
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(stand)


async def test_a_request_that_may_have_been_begun_is_not_sent_again(gateway: Stands) -> None:
    """The caller is told that it may."""

    async def dying(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with gateway.awake() as stand:
        stand.model.handler = dying
        status, body = await ask(stand)
        assert (status, b"replica_lost" in body) == (502, True)
        assert len(stand.model.asked) == 1


async def test_a_request_whose_connection_was_refused_waits_for_the_next_pod(gateway: Stands) -> None:
    """It has reached nobody: body and all, it is sent when there is somebody."""
    async with gateway.awake() as stand:
        assert (await ask(stand))[0] == 200
        await stand.model.stop()
        waiting = asyncio.create_task(ask(stand, b"z" * 100_000))
        await stand.reaches("llama_gateway_held", 1)
        await stand.model.start()
        assert await waiting == (200, b"z" * 100_000)


async def test_requests_in_flight_outlast_the_gateways_end(gateway: Stands) -> None:
    """A rollout of the gateway cuts nobody off."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        begun.set()
        await finish.wait()
        return web.Response(body=b"done")

    waiting: list[asyncio.Task[Any]] = []
    async with gateway.awake() as stand:
        stand.model.handler = slow
        waiting.append(asyncio.create_task(ask(stand)))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.2, finish.set)
    assert await waiting[0] == (200, b"done")


async def test_a_model_is_put_to_sleep_when_nobody_asks(gateway: Stands) -> None:
    """And not before the last answer: the wish is on the Lease for the operator."""
    finish = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await finish.wait()
        return web.Response()

    async with gateway.awake(idle_seconds=0.4) as stand:
        stand.model.handler = slow
        waiting = asyncio.create_task(ask(stand))
        await until(lambda: stand.model.asked)
        before = len(stand.cluster.writes)
        await until(lambda: len(stand.cluster.writes) > before + 6)
        assert stand.lease.wanted
        finish.set()
        await waiting
        await until(lambda: not stand.lease.wanted)
        assert await stand.metric("llama_gateway_sleeps_total") == 1


async def test_the_last_request_and_the_sleep_do_not_miss_each_other(gateway: Stands) -> None:
    """The operator was quicker: the request waits, and wakes the model again."""
    async with gateway.awake(idle_seconds=0.4) as stand:
        await until(lambda: not stand.lease.wanted)
        stand.say(Pods.ASLEEP)
        await stand.model.stop()
        waiting = asyncio.create_task(ask(stand))
        await stand.operator()
        assert await waiting == (200, b"hello")
        assert stand.model.asked == [b"hello"]
