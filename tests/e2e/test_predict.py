"""A sample manifest is applied; its model answers, inside the cluster and under stress, as the contract says."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
import yaml
from openai import NotFoundError, OpenAI

from tests.support import stack
from tests.support.ask import ask
from tests.support.cluster import LLAMA, Namespace, eventually
from tests.support.predict import Server
from tools.generate import ROOT

pytestmark = pytest.mark.cluster
SAMPLE: Final = ROOT / "manifests" / "samples" / "smollm2-135m.yaml"
NAME: Final = "smollm2"
LONG: Final = {"prompt": "Once upon a time", "num_beams": 1, "max_new_tokens": 2048, "do_sample": False}


@pytest.fixture(scope="module")
def deployed() -> Generator[Namespace]:
    """A namespace in which the small sample is available; it computes four sequences, and queues one request."""
    with stack.restricted_namespace() as space:
        manifest = yaml.safe_load(SAMPLE.read_text())
        manifest["spec"]["engine"] = {"maxConcurrentSequences": 4, "maxQueuedRequests": 1, "args": ["--playground"]}
        space.apply(manifest)
        space.condition(NAME, "Available", "True Serving", seconds=180)
        yield space


@pytest.fixture(scope="module")
def server(deployed: Namespace) -> Server:
    """Its Service, as this machine reaches it."""
    return Server(deployed.run("get", "service", NAME, "-o", "jsonpath={.spec.clusterIP}"))


@pytest.fixture
def idle(server: Server) -> Server:
    """The same, once nothing runs or waits in it."""
    eventually("nothing runs", lambda: running(server) + waiting(server) == 0)
    return server


def running(server: Server) -> float:
    """Requests in the engine."""
    return server.metric("llama_inference_num_requests_running")


def waiting(server: Server) -> float:
    """Requests in the queue."""
    return server.metric("llama_inference_num_requests_waiting")


def test_the_model_answers_in_sensible_english_from_inside_the_cluster(deployed: Namespace) -> None:
    """A pod asks the Service by its short name, at the contract's defaults: four beams."""
    question = {"messages": [{"role": "user", "content": "What is the capital city of Japan?"}], "max_new_tokens": 128}
    answer = ask(deployed.name, NAME, question)
    assert answer["status"] == "success"
    assert "Tokyo" in answer["data"][0]
    assert answer["finish_reason"] == ["stop"]
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


def test_a_stream_is_the_same_text_in_pieces(idle: Server) -> None:
    """Through the Service nothing collects the events: the last one has usage, those before have text."""
    request = {"prompt": "The capital of France is", "num_beams": 1, "max_new_tokens": 24, "do_sample": False}
    whole = idle.predict(request).body["data"][0]
    with idle.stream(request) as events:
        seen = list(events)
    assert len(seen) > 3
    assert "".join(event["text"] for event in seen[:-1]) == whole
    assert seen[-1]["finish_reason"] == ["length"]


def test_openais_client_speaks_to_the_service(idle: Server) -> None:
    """With the Service as its base address, an application needs no change: whole, in pieces, and with its errors."""
    chat: Any = {"model": NAME, "messages": [{"role": "user", "content": "What is the capital city of Japan?"}]}
    another: Any = {**chat, "model": "gpt-4"}
    with OpenAI(base_url=idle.url("/v1"), api_key="none", max_retries=0, timeout=120) as client:
        assert [model.id for model in client.models.list()] == [NAME]
        whole = client.chat.completions.create(**chat, max_tokens=12, temperature=0).choices[0].message.content
        chunks = list(client.chat.completions.create(**chat, max_tokens=12, temperature=0, stream=True))
        with pytest.raises(NotFoundError, match=f"it is {NAME}"):
            client.chat.completions.create(**another)
    assert "Tokyo" in str(whole)
    assert len(chunks) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole


def test_a_prompt_that_leaves_no_room_is_refused_with_the_numbers(idle: Server) -> None:
    """max_new_tokens counts the prompt: the answer says how many tokens that has, and what would work."""
    answer = idle.predict({"prompt": "word " * 40, "max_new_tokens": 8})
    assert answer.status == 400
    assert answer.body["error"] == {"code": "context_length_exceeded", "param": "max_new_tokens"}
    assert "40" in answer.body["message"] or "41" in answer.body["message"]


def test_bad_json_is_refused_and_says_where(idle: Server) -> None:
    """The seed's own example has an apostrophe that a shell takes away: a common way to get here."""
    answer = idle.predict(b'{"prompt": "What')
    assert (answer.status, answer.body["status"], answer.body["data"]) == (400, "error", None)
    assert "JSON" in answer.body["message"]


def test_a_full_queue_is_answered_429_and_those_before_are_served(idle: Server) -> None:
    """One of the four rows is taken, so four beams wait; the next is told when to come, those that wait are served."""
    beams = {"prompt": "Hello", "num_beams": 4, "max_new_tokens": 16}
    with ThreadPoolExecutor(1) as pool, idle.stream(LONG) as events:
        next(events)
        second = pool.submit(idle.predict, beams)
        eventually("one waits", lambda: waiting(idle) == 1)
        third = idle.predict(beams)
        assert third.status == 429
        assert third.body["error"]["code"] == "queue_full"
        assert int(third.headers["retry-after"]) >= 1
        events.close()
    assert second.result().status == 200


def test_a_caller_that_hangs_up_frees_the_engine(idle: Server) -> None:
    """The long stream would take minutes: its place is free as soon as its caller has gone."""
    before = idle.metric("llama_inference_requests_abandoned_total")
    with idle.stream(LONG) as events:
        next(events)
        assert running(idle) == 1
    eventually("the engine is free", lambda: running(idle) == 0, seconds=10)
    assert idle.metric("llama_inference_requests_abandoned_total") == before + 1


def test_arguments_of_the_engine_switch_the_playground_on(server: Server) -> None:
    """The page and its script are in the image."""
    status, page = server.get("/")
    assert (status, "<title>Playground</title>" in page) == (200, True)
    assert server.get("/playground/page.js")[0] == 200


def test_the_image_holds_what_traces_need(deployed: Namespace) -> None:
    """Where a collector is named, the server sends it spans without another image."""
    module = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    deployed.run("exec", f"deployment/{NAME}", "--", "python3", "-c", f"import opentelemetry.sdk.trace, {module}")


def test_the_server_has_no_token_of_the_cluster(deployed: Namespace) -> None:
    """Whoever breaks into it finds nothing to speak to the API server with."""
    look = "import os; print(os.path.isdir('/var/run'), os.path.lexists('/var/run/secrets/kubernetes.io'))"
    assert deployed.run("exec", f"deployment/{NAME}", "--", "python3", "-c", look).split() == ["True", "False"]


def test_kubectl_get_reads_well(deployed: Namespace) -> None:
    """One row answers: which model, which engine, how many ready, in which phase."""
    header, row = deployed.run("get", "llama").strip().splitlines()
    assert header.split() == ["NAME", "MODEL", "ENGINE", "READY", "PHASE", "ETA", "AGE"]
    assert row.split()[:5] == [NAME, "HuggingFaceTB/SmolLM2-135M-Instruct", "native", "1/1", "Ready"]


def test_kubectl_describe_tells_the_story(deployed: Namespace) -> None:
    """The events are the way from the spec to the first answer, in order; each stage has its time."""
    uid = deployed.there(LLAMA, NAME)["metadata"]["uid"]
    found = deployed.list("events", fields=f"involvedObject.uid={uid}")
    found.sort(key=lambda event: event["firstTimestamp"])
    reasons = [event["reason"] for event in found]
    assert set(reasons) >= {"SpecValid", "ChecksPassed", "AllScheduled", "Cached", "Loaded", "Serving"}
    assert all(event["type"] == "Normal" for event in found), reasons
    text = deployed.run("describe", "llama", NAME)
    assert all(word in text for word in ("Scheduling", "Download", "Load", "predict requests are answered"))

    def timed() -> list[dict[str, Any]] | None:
        stages = deployed.there(LLAMA, NAME)["status"]["startup"]["stages"]
        return stages if all("seconds" in stage for stage in stages) else None

    stages = eventually(
        "each stage has its time", timed, shows=lambda: deployed.there(LLAMA, NAME)["status"]["startup"]
    )
    assert all(stage["state"] == "done" and stage["seconds"] >= 0 for stage in stages)
    moved = {stage["name"]: stage for stage in stages if "bytesTotal" in stage}
    assert moved.keys() == {"Download", "Load"}
    assert all(stage["bytesDone"] == stage["bytesTotal"] > 200e6 for stage in moved.values())
