"""What pods have done, read from metrics that an image of the user's choice may have written."""

from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from llama_operator.cluster.usage import parse, usages_over_http
from llama_operator.plan.observed import Usage
from tests.support.operator_objects import a_pod

TEXT = """# HELP llama_inference_busy_seconds_total Seconds with a request.
# TYPE llama_inference_busy_seconds_total counter
llama_inference_busy_seconds_total 12.5
llama_inference_busy_seconds_created 1.7e9
llama_inference_generation_tokens_total{backend="native"} 100.0
llama_inference_generation_tokens_total{backend="a } b"} 20.0 1700000000
"""


def test_the_two_counters_are_read_whatever_their_labels() -> None:
    """And nothing that only begins like them."""
    assert parse(TEXT) == Usage(busy_seconds=12.5, tokens=120.0)


def test_nonsense_is_no_number() -> None:
    """Nor is a server that counts something else."""
    assert parse("llama_inference_busy_seconds_total NaN\nllama_inference_busy_seconds_total x\n") is None
    assert parse("llama_inference_busy_seconds_total -3\nllama_inference_busy_seconds_total\n") is None
    assert parse("") is None


async def test_a_pod_that_does_not_answer_is_left_out() -> None:
    """The others are told all the same."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=TEXT)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics)])
    answers, silent = (a_pod(name) for name in ("answers", "silent"))
    answers["status"]["podIP"] = silent["status"]["podIP"] = "127.0.0.1"
    async with TestServer(app, host="127.0.0.1") as server, usages_over_http(port=server.port or 0) as usages:
        assert await usages.of([answers]) == {"answers": Usage(busy_seconds=12.5, tokens=120.0)}
    async with usages_over_http(port=unused_port()) as usages:
        assert await usages.of([silent]) == {}
