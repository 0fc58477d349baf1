"""A server of several ranks as real processes: answers, and what happens when one of them dies."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.llama_inference.harness import Call, errors, eventually
from tests.llama_inference.process import MODULE, Process
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.support.tiny_llama import Reference

pytestmark = pytest.mark.slow

LOADING_S = 300.0  # several processes that each import torch, on a busy machine
PROMPT = "A llama grazes on the Altiplano; it is"
LONG: dict[str, Any] = {"prompt": PROMPT, "max_new_tokens": 250, "num_beams": 4, "do_sample": False}
SHAPES: tuple[dict[str, Any], ...] = (
    {"num_beams": 1},
    {"num_beams": 4},
    {"num_beams": 1, "encoder_repetition_penalty": 1.3},  # by transformers' own processors
)


def variables(folder: Path, **more: object) -> dict[str, str]:
    """The environment of a server over the tiny Llama."""
    given = {"model_dir": folder, "dtype": "float32", "drain_seconds": 60, **more}
    return {"OMP_NUM_THREADS": "1", **{f"LLAMA_INFERENCE_{name.upper()}": str(value) for name, value in given.items()}}


def children(process: Process) -> list[int]:
    """The processes that a server has started."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for each in tasks for pid in each.read_text().split()]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, if not been waited for."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture
def two(tiny_dir: Path) -> Iterator[Process]:
    """A ready server of two ranks."""
    with Process(*MODULE, **variables(tiny_dir, tensor_parallel=2)) as process:
        yield process.ready(LOADING_S)


def test_a_rank_that_is_killed_ends_the_server_and_its_log_says_so(two: Process, reference: "Reference") -> None:
    """Until then it answers as transformers does; the caller under way is told, and nothing hangs."""
    for shape in SHAPES:
        answer = two.client.post("/predict", json={"prompt": PROMPT, "max_new_tokens": 60, "do_sample": False, **shape})
        expected = reference.tokens(PROMPT, max_length=60, do_sample=False, **shape)
        assert answer.json()["data"] == [reference.text(tokens) for tokens in expected]
    assert two.client.get("/info").json()["device"] == "cpu,cpu"
    alone = {"prompt": PROMPT, "max_new_tokens": 60, "num_beams": 1, "prompt_lookup_num_tokens": 3}
    refused = two.client.post("/predict", json=alone)
    assert errors(refused)[:3] == (400, "unsupported_parameter", "prompt_lookup_num_tokens")
    (rank,) = children(two)
    running = Call(lambda: two.client.post("/predict", json=LONG, timeout=LOADING_S))
    eventually(lambda: "num_requests_running 1.0" in two.client.get("/metrics").text, "a running request", LOADING_S)
    os.kill(rank, signal.SIGKILL)
    status, code, _, message = errors(running.response(LOADING_S))
    assert (status, code) == (503, "engine_lost")
    assert "SIGKILL" not in message  # which is for operators: the log has it
    assert two.exit_code(LOADING_S) == 1
    assert two.log[-1]["level"] == "critical"
    assert "rank 1 was ended by SIGKILL" in two.log[-1]["message"]


def test_an_idle_server_notices_a_rank_that_dies(two: Process) -> None:
    """Without a request that would fail; and after SIGTERM of a child, which it does not heed, it goes on."""
    (rank,) = children(two)
    os.kill(rank, signal.SIGTERM)
    assert two.client.post("/predict", json={"prompt": PROMPT, "max_new_tokens": 40}).status_code == 200
    os.kill(rank, signal.SIGKILL)
    assert two.exit_code(LOADING_S) == 1


def test_the_others_end_when_rank_0_is_killed(two: Process) -> None:
    """By themselves, within a moment, and they say why."""
    (rank,) = children(two)
    two.signal(signal.SIGKILL)
    eventually(lambda: is_gone(rank), "the end of rank 1", LOADING_S)
    assert two.exit_code(LOADING_S) == -signal.SIGKILL
    assert two.log[-1]["level"] == "critical"
    assert "rank 1 stops: the leader, rank 0, is gone" in two.log[-1]["message"]


def test_two_nodes_answer_as_one_and_drain_together(tiny_dir: Path, reference: "Reference") -> None:
    """The second one serves probes, sends callers to the first, and ends with 0 when the first one lets it go."""
    both = {"nodes": 2, "tensor_parallel": 1, "leader_address": "127.0.0.1", "leader_port": free_port()}
    with (
        Process(*MODULE, **variables(tiny_dir, **both, node_rank=1)) as second,
        Process(*MODULE, **variables(tiny_dir, **both, node_rank=0)) as first,
    ):
        assert second.client.get("/healthz").status_code == 200
        first.ready(LOADING_S)
        second.ready()
        assert second.client.get("/startupz").json()["ready"]
        status, code, _, message = errors(second.client.post("/predict", json={"prompt": PROMPT}))
        assert (status, code) == (503, "not_the_leader")
        assert "127.0.0.1" in message
        running = Call(lambda: first.client.post("/predict", json=LONG, timeout=LOADING_S))
        eventually(
            lambda: "num_requests_running 1.0" in first.client.get("/metrics").text, "a running request", LOADING_S
        )
        second.signal()
        first.signal()
        expected = reference.tokens(PROMPT, max_length=250, do_sample=False, num_beams=4)
        assert running.response(LOADING_S).json()["data"] == [reference.text(tokens) for tokens in expected]
        assert (first.exit_code(LOADING_S), second.exit_code(LOADING_S)) == (0, 0)


def test_a_number_of_ranks_that_does_not_divide_the_model_is_told(tiny_dir: Path) -> None:
    """In the start-up report, with the numbers that would do; the process lives on, so that it can be read."""
    with Process(*MODULE, **variables(tiny_dir, tensor_parallel=3)) as process:
        report = lambda: process.client.get("/startupz").json()  # noqa: E731
        eventually(lambda: report()["error"] is not None, "the error", LOADING_S)
        assert report()["error"]["reason"] == "UnsupportedArchitecture"
        assert "use 1 or 2" in report()["error"]["message"]
        assert children(process) == []
