"""Has a rollout failed for good? By what its own pods show, or by its deadline; the old pods are not asked.

Failed is what waiting does not mend: a server that crashes again and again, a model that does not load, an answer to
a golden prompt that is not the expected one. What a person can mend from outside (a token, a node, a full disk) is
waited for until the progress deadline.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_operator.plan.history import Failure
from llama_operator.plan.observed import Object, Observed
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.status import model
from llama_operator.status.containers import of_container
from llama_operator.status.pods import condition_of, containers, is_ready, of_rollout
from llama_operator.status.problems import short
from llama_operator.status.progress import gets_on
from llama_operator.status.reason import Reason

CRASHES: Final = 3
"""Ends of a container, each but the last followed by a new start, that make a crash loop."""
LOADS: Final = 3
"""Attempts to load the weights; what is wrong for a moment, such as memory that an old pod still holds, passes."""
_LOADING: Final = frozenset({Reason.LOAD_FAILED, Reason.PACKAGE_LOAD_FAILED})
_FOR_GOOD: Final = frozenset(
    {
        Reason.GOLDEN_PROMPT_FAILED,
        Reason.UNSUPPORTED_ARCHITECTURE,
        Reason.NOT_A_MODEL,
        Reason.NO_SAFETENSORS,
        Reason.NO_TOKENIZER,
        Reason.BROKEN_REPOSITORY,
        Reason.REVISION_NOT_FOUND,
        Reason.PACKAGE_IMPORT_FAILED,
        Reason.PACKAGE_SIGNATURE_INVALID,
    }
)


def failure(spec: LlamaDeploymentSpec, seen: Observed, live: Object, number: int) -> Failure | None:
    """Return why the rollout `number`, which the Deployment `live` has, has failed; None if it may still succeed."""
    found = next(_of_pods(spec, seen, live, number), None)
    return found or _of_deadline(spec, seen, live, number)


def _of_pods(spec: LlamaDeploymentSpec, seen: Observed, live: Object, number: int) -> Iterator[Failure]:
    for pod in of_rollout(seen, live, number):
        if is_ready(pod):
            continue
        yield from _of_report(spec, seen, seen.startup.get(pod["metadata"]["name"], {}))
        yield from _of_container(spec, seen, pod)


def _of_report(spec: LlamaDeploymentSpec, seen: Observed, report: Object) -> Iterator[Failure]:
    error: Mapping[str, Any] = report.get("error") or {}
    reason, attempt = error.get("reason"), error.get("attempt") or 1
    if reason in _FOR_GOOD or (reason in _LOADING and attempt >= LOADS):
        yield from (Failure(reason=row.reason, message=row.message) for row in model.of_report(spec, seen, report))


def _of_container(spec: LlamaDeploymentSpec, seen: Observed, pod: Object) -> Iterator[Failure]:
    for state in containers(pod):
        waiting: Mapping[str, str] = state.get("state", {}).get("waiting") or {}
        # The last end counts only once the kubelet holds back the next start.
        if waiting.get("reason") == "CrashLoopBackOff" and state.get("restartCount", 0) + 1 >= CRASHES:
            found = of_container(spec, seen, pod, state)
            yield from (Failure(reason=row.reason, message=row.message) for row in found)


def _of_deadline(spec: LlamaDeploymentSpec, seen: Observed, live: Object, number: int) -> Failure | None:
    current = live.get("status", {}).get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    progressing = condition_of(live, "Progressing")
    if not current or progressing is None or progressing.get("reason") != "ProgressDeadlineExceeded":
        return None
    words = short(progressing.get("message", ""))
    seconds = spec.rollout.progress_deadline_seconds
    if gets_on(seen, of_rollout(seen, live, number), seconds):
        return None
    return Failure(
        reason=Reason.DEADLINE_EXCEEDED,
        message=f"it made no progress for {seconds} seconds ({words})",
    )
