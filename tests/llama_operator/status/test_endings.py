"""How containers end, as kubelets really report it, and what each ending says to do."""

from typing import Any

import pytest

from llama_operator.status.report import report
from tests.support.operator_objects import a_body, a_pod, a_spec, applied, observed, placed, plan

CUDA = """{"level": "info", "message": "loading"}
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB
[rank0]: see the log above
"""
NCCL = """misc/shmutils.cc:72 NCCL WARN Error: failed to extend /dev/shm/nccl-vOdQ1Y to 33030532 bytes
torch.distributed.DistBackendError: NCCL error, unhandled system error
"""
BUS = "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).\n"
HUB_401 = """huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: https://hub/api/models/x
Invalid credentials in Authorization header
"""
HUB_403 = """Cannot access gated repo for url https://hub/meta-llama/x/resolve/main/config.json.
Access to model meta-llama/x is restricted and you are not in the authorized list.
"""
VLLM = "ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: [...]\n"
TRANSFORMERS = (
    "ValueError: The checkpoint you are trying to load has model type `foo` but Transformers does not recognize this "
    "architecture.\n"
)
DISK = "OSError: [Errno 28] No space left on device: '/var/cache/llama/hub/x.incomplete'\n"


def ended(code: int, message: str = "", reason: str = "Error", **spec: Any) -> tuple[str, str]:
    """Reason and message of a deployment whose container ended so, and waits to be started again."""
    last = {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "message": message,
            "startedAt": "2026-11-24T08:05:03Z",
            "finishedAt": "2026-11-24T08:05:40Z",
            "containerID": "containerd://5b1c",
        }
    }
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
    body = a_body(**spec)
    seen = observed(placed(a_pod(), waits, last), body=body, children=applied(body))
    status = report(a_spec(**spec), seen, plan(seen), None).status
    (row,) = [row for row in status["conditions"] if row["type"] == "Degraded"]
    return row["reason"], row["message"]


@pytest.mark.parametrize(
    ("code", "message", "reason", "words"),
    [
        (1, CUDA, "GpuOutOfMemory", "raise spec.resources.gpu.count (it is 2), or lower"),
        (1, NCCL, "SharedMemoryTooSmall", "raise spec.resources.sharedMemory (it is 1Gi)"),
        (1, BUS, "SharedMemoryTooSmall", "raise spec.resources.sharedMemory (it is 1Gi)"),
        (135, "", "SharedMemoryTooSmall", "(SIGBUS): raise spec.resources.sharedMemory"),
        (1, HUB_401, "TokenRejected", "does not accept the token in Secret hf-access-token, key hf_access_token"),
        (1, HUB_403, "AccessDenied", "accept the licence"),
        (1, VLLM, "UnsupportedArchitecture", "FooForCausalLM"),
        (1, TRANSFORMERS, "UnsupportedArchitecture", "does not recognize this architecture"),
        (1, DISK, "DiskFull", "raise spec.cache.size"),
        (139, "", "Crashing", "ended with code 139 (SIGSEGV): kubectl logs llama-1 --previous"),
        (132, "", "Crashing", "instructions that this processor lacks"),
        (2, "a\n\nLLAMA_INFERENCE_PORT: not a number\n", "Crashing", 'last words were "LLAMA_INFERENCE_PORT: not a'),
    ],
)
def test_exit_codes_and_last_words_are_translated(code: int, message: str, reason: str, words: str) -> None:
    """Each with the field or object to mend, whichever engine's image it was."""
    found, said = ended(code, message)
    assert found == reason
    assert words in said


def test_the_line_that_names_the_cause_is_quoted() -> None:
    """What follows it, a rank's goodbye, says nothing."""
    _, said = ended(1, CUDA)
    assert "Tried to allocate 2.00 GiB" in said
    assert "see the log above" not in said


def test_what_the_kubelet_knows_comes_before_what_the_log_says() -> None:
    """The last words of a process that was killed are about something else."""
    assert ended(137, CUDA, "OOMKilled", resources={"memoryLimit": "4Gi"}) == (
        "OutOfMemory",
        "the server in pod llama-1 was killed for want of memory: raise spec.resources.memoryLimit (it is 4Gi)",
    )
