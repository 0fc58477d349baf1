"""Several gateways in front of one model: whichever a caller comes by, the model is woken once, and each is served."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from llama_operator.gateway.process import serving
from llama_operator.plan.activity import Pods
from tests.llama_operator.gateway.conftest import Stand, Stands, until

pytestmark = pytest.mark.slow  # real servers, and waits that take their time


def another(stand: Stand) -> Stand:
    """A second gateway of the same model, which is yet to be started."""
    own = {"name": "gateway-1", "port": unused_port(), "admin_port": unused_port()}
    return Stand(stand.model, stand.cluster, stand.settings.model_copy(update=own), stand.session)


async def ask(stand: Stand, body: bytes) -> tuple[int, bytes]:
    """POST to predict; status and body."""
    async with stand.session.post(stand.url, data=body) as answer:
        return answer.status, await answer.read()


async def test_two_gateways_wake_the_model_once_and_serve_what_each_holds(gateway: Stands) -> None:
    """Both write onto the Lease that they have read: one is quicker, and the other goes by its word."""
    async with gateway.asleep() as one:
        two = another(one)
        async with serving(two.settings, two.cluster):
            waking = asyncio.create_task(one.operator())
            bodies = [str(number).encode() for number in range(100)]
            asked = [ask((one, two)[number % 2], body) for number, body in enumerate(bodies)]
            assert await asyncio.gather(*asked) == [(200, body) for body in bodies]
            await waking
            assert sorted(one.model.asked) == sorted(bodies)
            wakes = "llama_gateway_wakes_total"
            assert await one.metric(wakes) + await two.metric(wakes) == 1


async def test_one_that_is_busy_keeps_the_model_awake_for_the_other(gateway: Stands) -> None:
    """Which has nobody to serve, and would put it to sleep alone."""
    async with gateway.awake(idle_seconds=0.4) as one:
        two = another(one)
        finish = asyncio.Event()

        async def slow(_: web.Request) -> web.Response:
            await finish.wait()
            return web.Response(body=b"done")

        one.model.handler = slow
        waiting = asyncio.create_task(ask(one, b"long"))
        async with serving(two.settings, two.cluster):
            await until(lambda: one.model.asked)
            before = len(one.cluster.writes)
            await until(lambda: len(one.cluster.writes) > before + 12)  # three times idleSeconds
            assert await two.metric("llama_gateway_sleeps_total") == 0
            assert (one.lease.wanted, one.lease.pods) == (True, Pods.AWAKE)
            finish.set()
            assert await waiting == (200, b"done")
            await until(lambda: not one.lease.wanted)
