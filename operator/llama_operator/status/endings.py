"""Why a container ended, from the kubelet's reason, the exit code and its last words; pure.

The last words are the termination message, which Kubernetes fills with the end of the log. They may be those of any
engine in `spec.engine.image` or beside the server, so what libraries say is known here too: torch, NCCL, transformers,
the Hub's client, TGI's launcher.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llama_operator.names import CONTAINER
from llama_operator.plan import refusals
from llama_operator.plan.engines import FRONT, TGI
from llama_operator.plan.observed import SecretFact
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.status import last_words
from llama_operator.status.problems import Problem, short
from llama_operator.status.reason import Reason

_SIGNALS: Final[Mapping[int, str]] = {
    132: "SIGILL: the image has instructions that this processor lacks",
    134: "SIGABRT",
    135: "SIGBUS",
    137: "SIGKILL: by the node, its administrator, or a liveness probe that was not answered",
    139: "SIGSEGV",
    143: "SIGTERM",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container of a pod ended: exit code, the kubelet's one word, the last lines."""

    pod: str
    code: int
    reason: str
    message: str
    container: str = CONTAINER

    @property
    def who(self) -> str:
        """What ended, and in which pod."""
        what = "the server" if self.container == CONTAINER else f"container {self.container}"
        return f"{what} in pod {self.pod}"

    @property
    def logs(self) -> str:
        """The command that shows the rest."""
        of = "" if self.container == CONTAINER else f" -c {self.container}"
        return f"kubectl logs {self.pod}{of} --previous"

    @property
    def last(self) -> str:
        """The sentence that it ended with."""
        return short(last_words.last(self.message))


_WORDS: Final[tuple[tuple[Reason, re.Pattern[str]], ...]] = (
    (
        Reason.GPU_OUT_OF_MEMORY,
        re.compile(
            r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|HIP out of|"
            r"Not enough memory to handle \d+ prefill tokens"
        ),
    ),
    # TGI's launcher outlives its shards: it is the kernel that kills one so.
    (Reason.OUT_OF_MEMORY, re.compile(r"Shard process was signaled to shutdown with signal 9")),
    (
        Reason.SHARED_MEMORY_TOO_SMALL,
        re.compile(
            r"shared memory segment|/dev/shm|insufficient shared memory|unable to open shared memory object|"
            r"out of shared memory|posix_fallocate failed",
            re.IGNORECASE,
        ),
    ),
    (Reason.DISK_FULL, re.compile(r"No space left on device|Disk quota exceeded|ENOSPC")),
    (
        Reason.TOKEN_REJECTED,
        re.compile(r"401 Client Error|Invalid user token|Invalid credentials in Authorization header|Bad credentials"),
    ),
    (Reason.ACCESS_DENIED, re.compile(r"GatedRepoError|Cannot access gated repo|403 Client Error|awaiting a review")),
    (
        Reason.UNSUPPORTED_ARCHITECTURE,
        re.compile(
            r"does not recognize this architecture|[Mm]odel architectures? \S+ (?:is|are) not supported|"
            r"Unrecognized configuration class|Unsupported model type|trust_remote_code=True"
        ),
    ),
)
"""What names the cause whichever line it stands in; the first that is found counts."""


def problem(spec: LlamaDeploymentSpec, secret: SecretFact | None, ending: Ending) -> Problem:
    """Return what is wrong and how to mend it."""
    if ending.reason == "OOMKilled":
        return Problem(Reason.OUT_OF_MEMORY, _memory(spec, ending))
    if ending.code == 135:  # a page of /dev/shm that there is no room for
        return Problem(Reason.SHARED_MEMORY_TOO_SMALL, _shared(spec, ending, "SIGBUS"))
    said = last_words.sentences(ending.message)
    for reason, words in _WORDS:
        if line := next(filter(words.search, said), None):
            return Problem(reason, _sentence(reason, spec, secret, ending, short(line)))
    words = f', and its last words were "{ending.last}"' if ending.last else ""
    signal = _SIGNALS.get(ending.code)
    return Problem(
        Reason.CRASHING,
        f"{ending.who} ended with code {ending.code}{f' ({signal})' if signal else ''}{words}: {ending.logs} shows the "
        "rest",
    )


def _sentence(reason: Reason, spec: LlamaDeploymentSpec, secret: SecretFact | None, ending: Ending, line: str) -> str:
    if reason is Reason.OUT_OF_MEMORY:
        return _memory(spec, ending)
    if reason is Reason.GPU_OUT_OF_MEMORY:
        return gpu_memory(spec, ending.who, line)
    if reason is Reason.SHARED_MEMORY_TOO_SMALL:
        return _shared(spec, ending, line)
    if reason is Reason.DISK_FULL:
        return f"a volume of pod {ending.pod} is full ({line}): raise spec.cache.size, or free some of it"
    return refusals.sentence(reason, spec, secret, line) or line


def _memory(spec: LlamaDeploymentSpec, ending: Ending) -> str:
    if spec.engine.name == TGI and ending.container == CONTAINER:
        return (
            f"{ending.who} was killed for want of memory: raise resources.requests.memory (unset, it is "
            f"{FRONT['memory']}), and a limit if there is one, of container {CONTAINER} in "
            f"spec.podTemplate.spec.containers; spec.resources is what container {TGI} gets"
        )
    limit = spec.resources.memory_limit
    fix = f"raise spec.resources.memoryLimit (it is {limit})" if limit else "raise spec.resources.memory"
    return f"{ending.who} was killed for want of memory: {fix}"


def _shared(spec: LlamaDeploymentSpec, ending: Ending, line: str) -> str:
    return (
        f"{ending.who} ended for want of shared memory ({line}): raise spec.resources.sharedMemory (it is "
        f"{spec.resources.shared_memory})"
    )


def gpu_memory(spec: LlamaDeploymentSpec, who: str, line: str) -> str:
    """Return the sentence for GPUs that `who` found too small."""
    engine, count = spec.engine, spec.resources.gpu.count
    sequences, context = engine.max_concurrent_sequences, engine.max_context_tokens
    if engine.name == TGI:
        return (
            f"the GPUs of {who} have too little memory ({line}): raise spec.resources.gpu.count (it is {count}), or "
            f"lower spec.engine.maxContextTokens (it is {context or 'unset'}), or what TGI computes at once: "
            "--max-batch-prefill-tokens in spec.engine.tgi.args"
        )
    return (
        f"the GPUs of {who} have too little memory ({line}): raise spec.resources.gpu.count (it is {count}), or lower "
        f"spec.engine.maxConcurrentSequences (it is {sequences or 'unset'}) or maxContextTokens (it is "
        f"{context or 'unset'})"
    )
