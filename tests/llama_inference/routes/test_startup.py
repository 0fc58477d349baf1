"""A server that loads from the Hub: its start-up report, what callers hear meanwhile, and how it goes on."""

from typing import Any

import pytest

from llama_inference.app import OpenBackend
from llama_inference.backends.base import Backend
from llama_inference.backends.mock import MockBackend
from llama_inference.engine import token as token_module
from llama_inference.engine.loader import Backoff, Stages
from llama_inference.engine.progress import Progress, Stage
from llama_inference.engine.token import TokenFile
from llama_inference.errors import LoadReason
from llama_inference.metrics import Metrics
from tests.llama_inference.harness import Served, errors, eventually, serve
from tests.llama_inference.repository import NAME, NOWHERE, WEIGHTS, Repository

pytestmark = pytest.mark.slow  # real servers, real transfers

PROMPT = {"prompt": "x", "max_new_tokens": 4}


def loading_from(repository: Repository, *, retry_s: float = 60.0, endpoint: str = "") -> OpenBackend:
    """The true stages up to the weights, which are random bytes here: the mock answers in their place."""

    def open_backend(progress: Progress, metrics: Metrics) -> Backend:
        repository.progress, repository.metrics = progress, metrics
        stages = Stages(progress, metrics, TokenFile(repository.token_path), Backoff(retry_s, retry_s))
        downloader = repository.downloader(endpoint=endpoint)
        resolved = stages.run(Stage.RESOLVE, downloader.resolve)
        progress.commit = resolved.commit
        stages.run(Stage.DOWNLOAD, lambda: downloader.download(resolved))
        for stage in (Stage.LOAD, Stage.WARM_UP):
            stages.run(stage, MockBackend().warm_up)
        return MockBackend()

    return open_backend


def start(repository: Repository, **given: Any) -> Served:
    """A server that loads the repository."""
    return serve(loading_from(repository, **given), model=NAME)


def report(served: Served) -> tuple[int, dict[str, Any]]:
    """What the operator reads."""
    answer = served.client.get("/startupz")
    return answer.status_code, answer.json()


@pytest.fixture(autouse=True)
def _quick_eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "POLL_S", 0.01)


def test_a_loaded_server_reports_every_stage_done(repository: Repository) -> None:
    """With the commit that the branch was, which answers name as well."""
    commit = repository.publish()
    with start(repository) as served:
        served.ready()
        status, found = report(served)
        assert status == 200
        assert [(row["name"], row["state"]) for row in found["stages"]] == [
            ("Resolve", "done"), ("Download", "done"), ("Load", "done"), ("WarmUp", "done"),
            ("Golden", "done"),
        ]  # fmt: skip
        assert (found["ready"], found["error"], found["commit"], found["revision"]) == (True, None, commit, "main")
        body = served.predict(PROMPT).json()
        assert (body["model"], body["revision"]) == (NAME, commit)
        assert served.client.get("/info").json()["revision"] == commit


def test_while_it_loads_callers_are_told_stage_bytes_and_time(repository: Repository) -> None:
    """503 with Retry-After; live, but not ready."""
    repository.hub.fault("slow", file="*.safetensors", bytes_per_second=200_000)
    with start(repository) as served:
        eventually(lambda: repository.progress.bytes_done > 20_000 and repository.progress.eta_seconds(), "some bytes")
        answer = served.predict(PROMPT)
        status, code, _, message = errors(answer)
        assert (status, code) == (503, "loading")
        assert "stage Download, " in message
        assert f"of {WEIGHTS + 25} bytes, about " in message
        assert 1 <= int(answer.headers["retry-after"]) <= 3
        assert served.client.get("/healthz").status_code == 200
        assert served.client.get("/readyz").status_code == 503
        status, found = report(served)
        row = found["stages"][1]
        assert (status, found["stage"], found["ready"], row["state"]) == (503, "Download", False, "running")
        assert 0 < row["bytes_done"] < row["bytes_total"]
        assert row["bytes_per_second"] > 0
        assert row["eta_seconds"] > 0
        repository.hub.clear_faults()
        served.ready()
        assert served.predict(PROMPT).status_code == 200


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, LoadReason.TOKEN_MISSING),
        ("hf_wrong", LoadReason.TOKEN_REJECTED),
        ("hf_stranger", LoadReason.ACCESS_DENIED),
        ("hf_broken\nhf_wrong", LoadReason.TOKEN_REJECTED),
    ],
)
def test_a_corrected_token_lets_it_go_on_at_once(
    repository: Repository, token: str | None, reason: LoadReason, caplog: pytest.LogCaptureFixture
) -> None:
    """The report says what is wrong; the wait of a minute ends when the file changes; the token is told nowhere."""
    repository.publish(gated="manual")
    if token:
        repository.token_path.write_text(token)
    with start(repository) as served:
        eventually(lambda: report(served)[1]["error"], "an error")
        status, found = report(served)
        assert status == 503
        assert (found["error"]["reason"], found["error"]["attempt"]) == (reason.value, 1)
        assert found["error"]["retry_in_seconds"] > 50
        heard = errors(served.predict(PROMPT))[3]
        assert found["error"]["message"] in heard
        repository.token_path.write_text("hf_reader")
        served.ready()
        assert report(served)[1]["error"] is None
        told = " ".join([caplog.text, heard, str(found), served.client.get("/metrics").text])
    for secret in ("hf_reader", token):
        assert secret is None or secret not in told


def test_a_gate_that_opens_lets_it_go_on(repository: Repository) -> None:
    """Access that is granted at the Hub is noticed by the next try, with the same token."""
    repository.publish(gated="manual")
    repository.hub.tokens.add("hf_late", account="late")
    repository.token_path.write_text("hf_late")
    with start(repository, retry_s=0.02) as served:
        eventually(lambda: "AccessDenied" in served.client.get("/startupz").text, "the refusal")
        repository.hub.tokens.grant("late", NAME)
        served.ready()


def test_a_transfer_that_is_cut_off_goes_on_by_itself(repository: Repository) -> None:
    """The next try asks for the rest only."""
    repository.hub.fault("cut", file="*.safetensors", after=100_000, times=2)
    with start(repository, retry_s=0.01) as served:
        served.ready()
    first, *later = repository.transfers()
    assert first is None
    assert later == ["bytes=100000-", "bytes=200000-"]


def test_a_restart_does_not_need_the_hub(repository: Repository) -> None:
    """What is complete in the cache is served."""
    repository.fetch()
    with start(repository, endpoint=NOWHERE) as served:
        served.ready()
        assert served.predict(PROMPT).status_code == 200


def test_a_stage_that_takes_long_is_timed_in_the_metrics(repository: Repository) -> None:
    """Each stage by its name."""
    with start(repository) as served:
        served.ready()
        text = served.client.get("/metrics").text
    for stage in Stage:
        assert f'llama_inference_model_load_seconds{{stage="{stage.value}"}}' in text
