"""What ours adds to the truss server behind it: keys, bounds, deadlines, honest ends, metrics."""

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import openai
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from llama_inference.routes.package import LATER, PLATFORMS
from tests.llama_inference.harness import Call, eventually
from tests.llama_inference.package.pod import Pod
from tests.support.truss.cases import CASES
from tests.support.truss.replaying import replay

pytestmark = pytest.mark.slow

KEY: Final = "key-of-the-application"
KEYED: Final = {"authorization": f"Api-Key {KEY}"}
PREDICT: Final = "/v1/models/tiny:predict"


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A package that does as it is told, behind a key, with room for one that waits."""
    keys = tmp_path_factory.mktemp("keys")
    (keys / "application").write_text(KEY)
    with Pod("trouble", secrets={"a_key": "right"}, api_keys_dir=keys, max_queue=1, max_body_bytes=100_000) as pod:
        pod.client.headers.update(KEYED)
        yield pod.ready()


def do(pod: Pod, op: str, path: str = PREDICT, headers: dict[str, str] | None = None, **more: Any) -> httpx2.Response:
    """Have the package do something."""
    return pod.client.post(path, json={"op": op, **more}, headers=headers)


class Held:
    """A request that the package holds while the block runs."""

    def __init__(self, pod: Pod) -> None:
        self._tmp = pod.container.root / "tmp"
        self._call = Call(lambda: do(pod, "hold"))

    def __enter__(self) -> Call:
        eventually((self._tmp / "held").exists, "held", 60)
        return self._call

    def __exit__(self, *_: object) -> None:
        self.go()
        self._call.response(60)
        (self._tmp / "go").unlink(missing_ok=True)

    def go(self) -> None:
        """Let it go."""
        (self._tmp / "go").touch()


@pytest.mark.parametrize("path", PLATFORMS)
def test_the_platforms_paths_are_predict(trouble: Pod, path: str) -> None:
    """Clients of the platform change the host alone."""
    answer = do(trouble, "request", path.format(deployment="abc", environment="production"))
    assert answer.status_code == 200
    assert answer.json()["length"] == 0


@pytest.mark.parametrize("path", LATER)
def test_what_answers_elsewhere_says_what_to_do_instead(trouble: Pod, path: str) -> None:
    """async_predict has no queue here."""
    answer = do(trouble, "request", path.format(deployment="abc", environment="production"))
    assert answer.status_code == 501
    assert "ask predict and wait" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/hot-reload", "/control/patch", "/control/truss_hash", "/openapi.json"])
def test_what_is_not_for_callers_is_not_there(trouble: Pod, path: str) -> None:
    """Not even with a key: the truss server's own /hot-reload is not reached."""
    assert trouble.client.post(path, json={}).status_code == 404
    assert "Hot reload" not in trouble.container.log


def test_the_package_is_told_who_asks_and_which_request_it_is_but_not_the_key(trouble: Pod) -> None:
    """Ids join its log with ours; the key opens our door alone."""
    answer = do(trouble, "request", headers={"x-request-id": "abc", "x-mine": "kept", "x-forwarded-for": "10.1.2.3"})
    seen = answer.json()
    assert answer.headers["x-request-id"] == "abc"
    assert seen["headers"]["x-baseten-request-id"] == "abc"
    assert seen["headers"]["traceparent"] == answer.headers["traceparent"]
    assert seen["headers"]["x-mine"] == "kept"
    assert seen["headers"]["x-forwarded-for"] == "10.1.2.3"
    assert seen["client"] == "10.1.2.3"
    assert do(trouble, "request").json()["client"] == "127.0.0.1"
    assert "authorization" not in seen["headers"]
    assert KEY not in json.dumps(seen)


@pytest.mark.parametrize("path", [PREDICT, "/predict", "/v1/chat/completions", "/invocations"])
def test_nobody_gets_past_the_keys(trouble: Pod, path: str) -> None:
    """Whichever way is taken."""
    with httpx2.Client(base_url=trouble.url) as stranger:
        assert stranger.post(path, json={"op": "request"}).status_code == 401
        refused = 401 if path.startswith("/v1/chat") else 403  # as OpenAI's clients expect it on their routes
        assert stranger.post(path, json={}, headers={"authorization": "Api-Key wrong"}).status_code == refused
        assert stranger.get("/v1/models/tiny/schema").status_code == 401


def test_a_websocket_needs_a_key_as_well(trouble: Pod) -> None:
    """It is refused before it is opened; with a key the package says that it has none."""
    url = trouble.url.replace("http", "ws") + "/v1/websocket"
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401
    with connect(url, additional_headers=KEYED) as talk, pytest.raises(Exception, match="1003"):
        talk.recv()


def test_what_comes_above_the_queue_is_429_with_a_time(trouble: Pod) -> None:
    """One runs, one waits; the third is told when to come again, and the second is answered."""
    with Held(trouble):
        waiting = Call(lambda: do(trouble, "request"))
        eventually(lambda: trouble.metric("num_requests_waiting") == 1, "waiting")
        refused = do(trouble, "request")
        (trouble.container.root / "tmp/go").touch()
        assert waiting.response(60).status_code == 200
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "wait already" in refused.json()["error"]


def test_a_deadline_that_passes_is_504(trouble: Pod) -> None:
    """And the place of the request is free."""
    with Held(trouble):
        late = do(trouble, "request", headers={"x-request-timeout": "0.2"})
    assert late.status_code == 504
    eventually(lambda: trouble.metric("num_requests_running") == 0, "idle")


def test_a_body_above_the_limit_is_413(trouble: Pod) -> None:
    """Below it, it gets through whole; declared or in chunks makes no difference."""
    assert do(trouble, "request", x="y" * 90_000).json()["length"] == 90_000
    assert do(trouble, "request", x="y" * 110_000).status_code == 413
    chunks = (b" " * 10_000 for _ in range(11))
    assert trouble.client.post(PREDICT, content=chunks).status_code == 413


@pytest.mark.parametrize("id", ["stream-fails-first", "stream-fails-later"])
def test_a_stream_that_fails_does_not_end_as_if_it_were_complete(id: str) -> None:  # noqa: A002
    """Where the truss server says that all is well: what came before is passed on, and the connection breaks."""
    (case,) = (case for case in CASES if case.id == id)
    with Pod("stream") as pod:
        answer = replay(case, pod.ready().url)
    assert answer["status"] == 200
    assert answer["broken_off"]
    assert len(answer["pieces"]) == (2 if id == "stream-fails-later" else 0)


def test_events_that_fail_end_with_an_error_event() -> None:
    """A client of server-sent events reads why, in the stream."""
    with Pod("trouble", secrets={"a_key": "right"}) as pod:
        answer = do(pod.ready(), "events")
    first, last, rest = answer.text.split("\n\n")
    assert first == 'data: {"n": 1}'
    assert last.startswith("event: error\ndata: {")
    assert not rest
    assert "failed at 2" not in answer.text


def test_a_caller_that_hangs_up_frees_its_place(trouble: Pod) -> None:
    """And is counted."""
    before = trouble.metric("requests_abandoned_total", reason="hung_up")
    with Held(trouble):
        with pytest.raises(httpx2.ReadTimeout):
            trouble.client.post(PREDICT, json={"op": "request"}, timeout=0.3)
        eventually(lambda: trouble.metric("num_requests_waiting") == 0, "the hang-up being noticed")
    assert trouble.metric("requests_abandoned_total", reason="hung_up") == before + 1


def test_one_scrape_finds_our_metrics_and_the_packages_own(trouble: Pod) -> None:
    """Requests, times, and the counter that the package itself keeps."""
    do(trouble, "request")
    text = trouble.client.get("/metrics").text
    assert 'llama_inference_e2e_request_latency_seconds_count{backend="package"}' in text
    assert 'llama_inference_http_requests_total{method="POST",route="/v1/models/{name}:predict",status="200"}' in text
    assert "trouble_asked_total" in text
    assert "trouble_asked_total" in trouble.client.get("/metrics/").text


def test_openais_client_speaks_to_a_package_that_has_its_method(trouble: Pod) -> None:
    """A full queue is an error of its own kind there."""
    with openai.OpenAI(base_url=f"{trouble.url}/v1", api_key=KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x"}])
        assert (answer.model, answer.choices) == ("tiny", [])
        with Held(trouble):
            waiting = Call(lambda: do(trouble, "request"))
            eventually(lambda: trouble.metric("num_requests_waiting") == 1, "waiting")
            with pytest.raises(openai.RateLimitError, match="wait already"):
                client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x"}])
            (trouble.container.root / "tmp/go").touch()
            waiting.response(60)


def test_health_that_the_model_denies_is_no_readiness(trouble: Pod) -> None:
    """`is_healthy` counts once it has loaded; requests that come all the same are passed on."""
    unhealthy = trouble.container.root / "tmp/unhealthy"
    unhealthy.touch()
    eventually(lambda: trouble.client.get("/readyz").status_code == 503, "unready", 60)
    assert do(trouble, "request").status_code == 200
    assert trouble.client.get("/v1/models/tiny").status_code == 503
    unhealthy.unlink()
    eventually(lambda: trouble.client.get("/readyz").status_code == 200, "ready", 60)


def test_a_process_that_ends_is_started_again_and_said_so(trouble: Pod) -> None:
    """Whoever waited for it hears 502; nobody waits for ever, and no container ends."""
    answer = do(trouble, "end")
    assert answer.status_code == 502
    assert "ended before it answered" in answer.json()["error"]
    eventually(lambda: trouble.client.get("/readyz").status_code == 503, "unready", 60)
    eventually(lambda: trouble.client.get("/readyz").status_code == 200, "ready again", 60)
    assert do(trouble, "request").status_code == 200
    assert trouble.container.process is not None
    assert trouble.container.process.poll() is None


def test_a_drain_lets_what_runs_finish_and_takes_no_more() -> None:
    """As for models: the last request is answered, the next is told to go elsewhere."""
    with Pod("trouble", secrets={"a_key": "right"}) as pod:
        pod.ready()
        held = Held(pod)
        with held as call:
            draining = pod.start(pod.server.drain())
            eventually(lambda: do(pod, "request").status_code == 503, "draining")
            assert not draining.done()
            held.go()
            assert call.response(60).json() == "went"
            assert draining.result(60)
