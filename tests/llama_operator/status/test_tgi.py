"""A pod with TGI beside the server: what keeps TGI from running is said like the server's own troubles, by its name."""

from typing import Any

import pytest

from llama_operator.plan.observed import Object
from llama_operator.spec.parse import parse
from llama_operator.status.report import report
from tests.support.operator_objects import a_body, a_pod, applied, condition, observed, placed, plan, running

LOOPS: Any = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
WAITS: Any = {"waiting": {"reason": "PodInitializing"}}
SHARD = "ERROR text_generation_launcher: Shard 0 failed to start\n"
CUDA = "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n" + SHARD
WARM_UP = "Not enough memory to handle 4096 prefill tokens. You need to decrease `--max-batch-prefill-tokens`\n"
KILLED = "Shard process was signaled to shutdown with signal 9 rank=0\n" + SHARD


def ended(code: int, message: str = "", reason: str = "Error") -> Any:
    """The last state of a container that ended so."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def beside(pod: Object, state: Any, last: Any = None) -> dict[str, Any]:
    """The pod with TGI's sidecar in this state."""
    tgi = {"name": "tgi", "image": "tgi:1", "state": state, "lastState": last or {}}
    return {**pod, "status": {**pod["status"], "initContainerStatuses": [tgi]}}


def told(pod: Object, events: tuple[Object, ...] = (), **resources: Any) -> tuple[str, str]:
    """Reason and message of a deployment with the engine tgi whose pod this is."""
    body = a_body(engine={"name": "tgi", "tgi": {"image": "tgi:1"}}, resources=resources)
    seen = observed(pod, body=body, children=applied(body), events=events)
    row = condition(report(parse(body), seen, plan(seen), None), "Degraded")
    return row["reason"], row["message"]


@pytest.mark.parametrize(
    ("state", "last", "reason", "words"),
    [
        ({"waiting": {"reason": "ImagePullBackOff"}}, None, "ImagePullFailed", "correct spec.engine.tgi.image"),
        ({"waiting": {"reason": "CreateContainerError"}}, None, "ContainerNotCreated", "spec.engine.tgi.image"),
        (LOOPS, ended(137, reason="OOMKilled"), "OutOfMemory", "container tgi in pod llama-1 was killed"),
        (LOOPS, ended(1, KILLED), "OutOfMemory", "raise spec.resources.memoryLimit (it is 90Gi)"),
        (LOOPS, ended(1, CUDA), "GpuOutOfMemory", "the GPUs of container tgi in pod llama-1"),
        (LOOPS, ended(1, WARM_UP), "GpuOutOfMemory", "--max-batch-prefill-tokens in spec.engine.tgi.args"),
        (LOOPS, ended(135), "SharedMemoryTooSmall", "container tgi in pod llama-1 ended for want of shared memory"),
        (LOOPS, ended(2, "error: unexpected argument"), "Crashing", "kubectl logs llama-1 -c tgi --previous"),
    ],
    ids=["image", "creation", "killed", "shard killed", "cuda", "warm-up", "shared memory", "crash"],
)
def test_why_tgi_does_not_run_is_told(state: Any, last: Any, reason: str, words: str) -> None:
    """While the server beside it runs, and waits for it."""
    found, said = told(beside(running(a_pod()), state, last), memoryLimit="90Gi")
    assert found == reason
    assert words in said


def test_an_image_that_cannot_be_pulled_is_told_before_there_is_a_server() -> None:
    """The server comes after the sidecar, and waits without a word of its own."""
    pod = beside(placed(a_pod(), WAITS), {"waiting": {"reason": "ErrImagePull", "message": "no such tag"}})
    found, said = told(pod)
    assert found == "ImagePullFailed"
    assert "image tgi:1 cannot be pulled (no such tag): correct spec.engine.tgi.image" in said


def test_a_volume_that_cannot_be_mounted_is_told_until_the_first_container_is_made() -> None:
    """Events outlive their cause."""
    event = {"reason": "FailedMount", "message": "timeout", "involvedObject": {"kind": "Pod", "name": "llama-1"}}
    unmade = placed(a_pod(), WAITS)
    assert told(beside(unmade, WAITS), (event,))[0] == "VolumeNotMounted"
    assert told(beside(unmade, {"running": {"startedAt": "2026-11-24T08:05:03Z"}}), (event,))[0] == "AllWell"


def test_the_servers_own_troubles_are_told_as_ever() -> None:
    """TGI runs, and the server does not."""
    pod = beside(placed(a_pod(), LOOPS, ended(2, "no such option")), {"running": {}})
    found, said = told(pod)
    assert found == "Crashing"
    assert "the server in pod llama-1 ended with code 2" in said
    assert "kubectl logs llama-1 --previous" in said


def test_memory_that_the_server_beside_tgi_lacks_is_raised_where_it_is_set() -> None:
    """What spec.resources gives goes to TGI's container."""
    pod = beside(placed(a_pod(), LOOPS, ended(137, reason="OOMKilled")), {"running": {}})
    found, said = told(pod, memoryLimit="90Gi")
    assert found == "OutOfMemory"
    assert "the server in pod llama-1 was killed for want of memory: raise resources.requests.memory" in said
    assert "(unset, it is 1Gi), and a limit if there is one, of container inference in spec.podTemplate" in said
    assert "spec.resources.memory" not in said
