"""Is a push over? What the status says → done, failed, refused, or not yet. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Object = Mapping[str, Any]
FINAL: Final = frozenset(
    {
        "AccessDenied",
        "Crashing",
        "GoldenPromptFailed",
        "GpuOutOfMemory",
        "NoSafetensors",
        "PackageInvalid",
        "PackageLoadFailed",
        "PackageUnsupported",
        "RepositoryNotFound",
        "RequirementsUnsolvable",
        "RevisionNotFound",
        "TokenMissing",
        "TokenRejected",
        "UnsupportedArchitecture",
    }
)
"""Reasons of pods that waiting alone does not mend; of all others it is waited for what happens."""
_GOES_ON: Final = frozenset({"Checking", "Waiting", "LeftoverDeleting"})
_WENT_BACK: Final = frozenset({"RolledBack", "DeadlineExceeded"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended; `reason` and `message` are those of the condition that says so."""

    state: Literal["done", "failed", "refused"]
    reason: str = ""
    message: str = ""


def condition(body: Object, kind: str) -> Object:
    """Return a condition; an empty one where there is none of the present generation."""
    rows = (body.get("status") or {}).get("conditions") or ()
    return next((row for row in rows if row["type"] == kind), {})


def is_seen(body: Object) -> bool:
    """Whether the operator has looked at the spec as it is now."""
    return (body.get("status") or {}).get("observedGeneration", 0) >= body["metadata"].get("generation", 1)


def verdict(body: Object) -> Verdict | None:
    """Return how a push has ended; None while it goes on."""
    if not is_seen(body):
        return None
    status, spec = body["status"], body.get("spec") or {}
    accepted, checked, degraded = (condition(body, kind) for kind in ("Accepted", "PreflightPassed", "Degraded"))
    if accepted.get("status") == "False" and accepted.get("reason") not in _GOES_ON:
        return _ended("refused", accepted)
    enforced = (spec.get("preflight") or {}).get("mode", "enforce") == "enforce"
    if enforced and checked.get("status") == "False" and checked.get("reason") not in _GOES_ON:
        return _ended("refused", checked)
    if degraded.get("reason") in _WENT_BACK:
        return _ended("failed", degraded)
    if status.get("phase") in ("Ready", "Asleep", "Stopped"):
        return Verdict("done")
    failed = next((row for row in status.get("conditions", ()) if _is_final(row)), None)
    return _ended("failed", failed) if failed is not None and not status.get("readyReplicas") else None


def _is_final(row: Object) -> bool:
    return row["status"] == "False" and row["reason"] in FINAL and row["type"] not in ("Available", "PreflightPassed")


def _ended(state: Literal["failed", "refused"], row: Object) -> Verdict:
    return Verdict(state, row.get("reason", ""), row.get("message", ""))
