"""Why the server cannot fetch or load the model: its own reasons, with the object to mend and how."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from llama_operator import names
from llama_operator.plan import refusals
from llama_operator.plan.observed import Object, Observed
from llama_operator.plan.survey import HUB_AWAY
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.status.endings import gpu_memory
from llama_operator.status.problems import Problem, short, size
from llama_operator.status.reason import Reason


def of_report(
    spec: LlamaDeploymentSpec, seen: Observed, report: Object, stall_seconds: float = 120.0
) -> Iterator[Problem]:
    """Yield the error of a start-up report.

    That no byte has come for `stall_seconds` says more than how the last try of a transfer failed.
    """
    error: Mapping[str, str] | None = report.get("error")
    transfer = not error or error.get("reason") in HUB_AWAY | {Reason.DOWNLOAD_INTERRUPTED}
    if transfer and (stalled := _stalled(spec, report, stall_seconds)):
        yield stalled
    if not error:
        return
    reason, words = error.get("reason", ""), short(error.get("message", ""), 600)
    said = words if reason in _SERVERS_OWN else refusals.sentence(reason, spec, seen.secret, words)
    if said is None and reason in _SENTENCES:
        said = _SENTENCES[reason](spec, seen, words)
    if said is None:
        yield Problem(Reason.STARTUP_FAILED, f"the server reports {error.get('reason')}: {words}")
    else:
        spoils = "ModelCached" if reason == Reason.PACKAGE_INVALID else None  # the Job that tells it
        yield Problem(Reason(reason), said, spoils)


_SERVERS_OWN: Final = HUB_AWAY | {Reason.NOT_A_MODEL, Reason.BROKEN_REPOSITORY, Reason.NO_SAFETENSORS}
"""Reasons of which the server's own sentence names cause and fix, as preflight's would: no other is put around it."""


def _stalled(spec: LlamaDeploymentSpec, report: Object, stall_seconds: float) -> Problem | None:
    row = next((row for row in report.get("stages", ()) if row["name"] == "Download"), None)
    if row is None or row["state"] not in ("running", "failed") or row.get("idle_seconds", 0) < stall_seconds:
        return None
    endpoint = spec.model.endpoint
    hub = f"the Hub at {endpoint}" if endpoint else "the Hub"
    done, total = size(row.get("bytes_done", 0)), size(row.get("bytes_total", 0))
    return Problem(
        Reason.DOWNLOAD_STALLED,
        f"no byte has come from {hub} for {stall_seconds:g} seconds ({done} of {total} are there): see whether the "
        "network, a proxy or the Hub holds it up; what is there is kept, and it goes on by itself",
    )


def _download_interrupted(_spec: LlamaDeploymentSpec, _seen: Observed, words: str) -> str:
    return f"the download broke off ({words}): it goes on by itself from where it was"


def _disk_full(spec: LlamaDeploymentSpec, seen: Observed, words: str) -> str:
    size = spec.cache.size or "estimated from the model"
    claim = "shared by this model" if spec.cache.shared else names.cache_claim(seen.key.name)
    return f"the cache volume {claim} is full ({words}): raise spec.cache.size (it is {size})"


def _load_failed(_spec: LlamaDeploymentSpec, _seen: Observed, words: str) -> str:
    return f"the model could not be loaded: {words}"  # the server knows the cause, and says what mends it


def _golden(_spec: LlamaDeploymentSpec, _seen: Observed, words: str) -> str:
    return (
        f"a golden prompt is not answered as expected ({words}): correct what has changed, or the expectation in "
        "spec.rollout.goldenPrompts"
    )


def _as_told(_spec: LlamaDeploymentSpec, _seen: Observed, words: str) -> str:
    return words


def _gpu_out_of_memory(spec: LlamaDeploymentSpec, _seen: Observed, words: str) -> str:
    return gpu_memory(spec, "a pod", words)


_SENTENCES: Final[Mapping[str, Callable[[LlamaDeploymentSpec, Observed, str], str]]] = {
    Reason.DOWNLOAD_INTERRUPTED: _download_interrupted,
    Reason.DISK_FULL: _disk_full,
    Reason.GPU_OUT_OF_MEMORY: _gpu_out_of_memory,
    Reason.LOAD_FAILED: _load_failed,
    Reason.GOLDEN_PROMPT_FAILED: _golden,
    **dict.fromkeys(
        (
            Reason.PACKAGE_INVALID,
            Reason.REQUIREMENTS_UNSOLVABLE,
            Reason.INDEX_UNREACHABLE,
            Reason.ENVIRONMENT_FAILED,
            Reason.PACKAGE_IMPORT_FAILED,
            Reason.PACKAGE_SIGNATURE_INVALID,
            Reason.PACKAGE_SECRET_MISSING,
            Reason.PACKAGE_LOAD_FAILED,
        ),
        _as_told,
    ),
}
