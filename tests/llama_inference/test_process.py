"""The server as a real process: signals, exit codes, and what it writes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.llama_inference.harness import LOADING_S, Call, errors, eventually
from tests.llama_inference.process import MOCK, MODULE, Process
from tests.llama_inference.repository import NAME, Repository

pytestmark = pytest.mark.slow

SECRET = "the-prompt-that-nobody-may-log"
LOSES_ITS_ENGINE = """
import llama_inference.cli as cli
from llama_inference.backends.mock import MockBackend
from llama_inference.errors import EngineLostError

class Fragile(MockBackend):
    def generate(self, generation, control):
        raise EngineLostError("the device fell off the bus")

cli.open_backend = lambda *_, **__: Fragile()
cli.main()
"""

# What is left of the drain is then all that slow readers have: without it they would lose their answers at once.
LEAVES_NO_LAST_SECONDS = """
import logging
import llama_inference.cli as cli
from llama_inference import connections

logging.getLogger("uvicorn").setLevel(logging.INFO)  # it says when it waits for connections
connections.LAST_SECONDS = 0
cli.main()
"""
SEQUENCES = 24 * 16
LARGE = {  # nine megabytes of answer, which fit no buffer on the way: each byte of the prompts is written as six
    "prompt": ["\x01" * 4000] * 24, "num_return_sequences": 16, "return_full_text": True, "max_new_tokens": 4001,
    "num_beams": 1, "do_sample": True,
}  # fmt: skip


@pytest.fixture
def slow_steps() -> Iterator[Process]:
    """A ready mock server whose steps take ten milliseconds."""
    with Process(*MODULE, **MOCK, LLAMA_INFERENCE_MOCK_STEP_SECONDS="0.01") as process:
        yield process.ready()


def test_sigterm_lets_requests_finish_and_ends_with_0(slow_steps: Process) -> None:
    """Readiness fails first, what runs is answered, what comes is sent elsewhere."""
    body = {"prompt": SECRET, "max_new_tokens": len(SECRET) + 60}
    running = Call(lambda: slow_steps.client.post("/predict", json=body))
    metrics = lambda: slow_steps.client.get("/metrics").text  # noqa: E731
    eventually(lambda: "num_requests_running 1.0" in metrics(), "a running request")
    slow_steps.signal()
    eventually(lambda: slow_steps.client.get("/readyz").status_code == 503, "readiness to fail")
    assert errors(slow_steps.client.post("/predict", json=body))[:2] == (503, "draining")
    answer = running.response()
    assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 60)
    assert slow_steps.exit_code() == 0
    messages = [row["message"] for row in slow_steps.log]
    assert [text for text in messages if text in {"signal", "draining", "drained", "stopped"}] == [
        "signal", "draining", "drained", "stopped",
    ]  # fmt: skip
    assert SECRET not in "".join(slow_steps.lines)


@pytest.mark.parametrize("stream", [False, True])
def test_who_reads_slowly_keeps_its_answer_for_the_rest_of_the_drain(tmp_path: Path, *, stream: bool) -> None:
    """All is computed and the server has begun to end; the caller, which has read nothing yet, gets the whole."""
    script = tmp_path / "hasty.py"
    script.write_text(LEAVES_NO_LAST_SECONDS)
    with Process(str(script), **MOCK, LLAMA_INFERENCE_DRAIN_SECONDS="120") as process, socket.socket() as connection:
        process.ready()
        connection.settimeout(LOADING_S)
        connection.connect(("127.0.0.1", int(process.url.rpartition(":")[2])))
        body = json.dumps({**LARGE, "stream": stream}).encode()
        head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        done = f'request_success_total{{backend="mock",finished_reason="length"}} {SEQUENCES}.0'
        eventually(lambda: done in process.client.get("/metrics").text, "all being computed", LOADING_S)
        process.signal()
        ending = ("Waiting for connections to close", "Cancel ")  # the latter, when it has no patience at all
        eventually(lambda: any(row["message"].startswith(ending) for row in process.log), "the server's end")
        answer = bytearray()
        while piece := connection.recv(1 << 20):
            answer += piece
        assert answer.count(b"\\u0001") == SEQUENCES * 4000
        assert (b"data: [DONE]" in answer) == stream
        assert process.exit_code() == 0


def test_a_second_signal_ends_it_at_once(slow_steps: Process) -> None:
    """Somebody is in a hurry, and it does not wait for ten seconds of tokens."""
    running = slow_steps.client.stream("POST", "/predict", json={"prompt": "x", "max_new_tokens": 4000, "stream": True})
    with running as answer:
        next(answer.iter_raw())
        slow_steps.signal()
        eventually(lambda: any(row["message"] == "draining" for row in slow_steps.log), "the drain")
        slow_steps.signal(signal.SIGINT)
        assert slow_steps.exit_code() == 0


def loading_from(repository: Repository) -> dict[str, str]:
    """The environment of a server for the repository."""
    return {
        "LLAMA_INFERENCE_MODEL": NAME,
        "LLAMA_INFERENCE_ENDPOINT": repository.hub.url,
        "LLAMA_INFERENCE_CACHE_DIR": str(repository.cache_dir),
        "LLAMA_INFERENCE_TOKEN_FILE": str(repository.token_path),
    }


def test_a_signal_while_it_loads_ends_it_with_0(repository: Repository) -> None:
    """Even in the middle of a transfer that never ends; and the token is in none of its lines."""
    repository.publish(gated="manual")
    repository.token_path.write_text("hf_reader")
    repository.hub.fault("hang", file="*")
    with Process(*MODULE, **loading_from(repository)) as process:
        repository.hub.wait_for(lambda records: records, 60)
        assert process.client.get("/healthz").status_code == 200
        assert errors(process.client.post("/predict", json={"prompt": "x"}))[:2] == (503, "loading")
        process.signal()
        assert process.exit_code() == 0
    assert "hf_reader" not in "".join(process.lines)


def test_a_server_killed_within_a_transfer_goes_on_where_it_stopped(repository: Repository) -> None:
    """Any moment is safe to die at: the next process asks for the rest only."""
    repository.hub.fault("stall", file="*.safetensors", after=100_000, times=1)
    with Process(*MODULE, **loading_from(repository)) as process:
        repository.hub.wait_for(lambda records: any(record.sent >= 100_000 for record in records), 60)
        eventually(lambda: repository.partial().stat().st_size > 0, "bytes on the disk")
        process.signal(signal.SIGKILL)
        assert process.exit_code() == -signal.SIGKILL
    kept = repository.partial().stat().st_size
    with Process(*MODULE, **loading_from(repository)):
        repository.hub.wait_for(lambda records: sum(record.file == "model.safetensors" for record in records) == 2, 60)
        assert repository.transfers() == [None, f"bytes={kept}-"]


def test_a_lost_engine_ends_it_with_1(tmp_path: Path) -> None:
    """Its supervisor starts a fresh one."""
    script = tmp_path / "fragile.py"
    script.write_text(LOSES_ITS_ENGINE)
    with Process(str(script), **MOCK) as process:
        process.ready()
        assert errors(process.client.post("/predict", json={"prompt": "x"}))[:2] == (503, "engine_lost")
        assert process.exit_code() == 1
        assert any("the device fell off the bus" in row["message"] for row in process.log)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "LLAMA_INFERENCE_MODEL"),
        ({**MOCK, "LLAMA_INFERENCE_PORT": "x"}, "LLAMA_INFERENCE_PORT"),
        ({**MOCK, "LLAMA_INFERENCE_GENERATION_DEFAULTS": '{"top_p": 2}'}, "spec.generation.defaults.top_p"),
    ],
)
def test_settings_that_cannot_be_used_end_it_with_2(variables: dict[str, str], words: str) -> None:
    """In one line that names what to correct."""
    found = subprocess.run(
        [sys.executable, *MODULE, "serve"],
        env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    (line,) = found.stdout.splitlines()
    assert json.loads(line)["level"] == "critical"
    assert words in json.loads(line)["message"]


def test_the_api_can_be_printed() -> None:
    """For documentation and clients, without a model."""
    found = subprocess.run(
        [sys.executable, *MODULE, "openapi"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "/predict" in json.loads(found.stdout)["paths"]
