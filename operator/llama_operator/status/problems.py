"""Problem: one thing that is wrong, the condition it spoils, and the sentence that says what to do.

This module holds the value and the problems of the spec and its objects; `placement`, `containers` and `model`
translate what the scheduler, the kubelet and the server say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from llama_operator import names
from llama_operator.errors import ClusterError, PackageError, SpecError
from llama_operator.names import KIND
from llama_operator.plan import sleep
from llama_operator.plan.history import Rollout
from llama_operator.plan.observed import Observed, Outcome, Plan, PreflightResult, Ref, ref_of
from llama_operator.plan.wanted import wanted_refs
from llama_operator.plan.webhooks import webhook_of
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.status import ConditionType
from llama_operator.status.pods import condition_of
from llama_operator.status.reason import Reason
from llama_operator.status.reasons import REASONS


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    reason: Reason
    message: str
    spoils: ConditionType | None = None

    @property
    def condition(self) -> ConditionType:
        """The condition that this problem makes False: the first that its reason is for, unless it says another."""
        return self.spoils or REASONS[self.reason].conditions[0]


def short(text: str, limit: int = 300) -> str:
    """Return `text` on one line, without a final full stop, cut where it is longer than `limit`."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def of_error(error: SpecError | ClusterError) -> Problem:
    """The spec cannot be read or merged, or the operator was refused what it has to read."""
    if isinstance(error, PackageError):
        return Problem(Reason(error.reason), short(str(error), 600), "Accepted")
    if isinstance(error, SpecError):
        return Problem(Reason.INVALID_SPEC, short(str(error)))
    return Problem(
        Reason.OPERATOR_FORBIDDEN,
        f"the operator may not read what it has to ({short(str(error))}): install the chart of its version again",
    )


def of_objects(seen: Observed, plan: Plan | None, outcome: Outcome | None) -> Iterator[Problem]:
    """Yield what stands in the way of the objects: names that are taken, refusals of the API server."""
    for ref in plan.foreign if plan else ():
        yield _taken(ref, seen)
    for ref, words in outcome.refused.items() if outcome else ():
        yield _refused(ref, words)


def _refused(ref: Ref, words: str) -> Problem:
    webhook = webhook_of(words)
    if webhook is None:
        fix = "correct the field of the spec it is from"
        return Problem(Reason.OBJECT_REFUSED, f"the API server refuses {ref.kind} {ref.name}: {short(words)}; {fix}")
    if webhook.fails:
        return Problem(
            Reason.WEBHOOK_FAILED,
            f"{ref.kind} {ref.name} is not applied, for the admission webhook {webhook.name} fails ({short(words)}): "
            "let it answer again, or take this namespace out of its configuration; it is tried again by itself",
        )
    return Problem(
        Reason.OBJECT_REFUSED,
        f"the admission webhook {webhook.name} refuses {ref.kind} {ref.name}: {short(words)}; correct the field of the "
        "spec it is from, or its policy",
    )


def of_kinds(plan: Plan | None) -> Iterator[Problem]:
    """Yield what is wanted of a kind that the cluster does not know."""
    for ref in plan.missing if plan else ():
        project, field, spoils = _PROJECTS[ref.kind]
        yield Problem(
            Reason.KIND_NOT_INSTALLED,
            f"the cluster does not know the kind {ref.kind} ({ref.api_version}), which {field} asks for: install "
            f"{project}, or leave that field out; it is noticed within moments",
            spoils,
        )


_PROJECTS: Final[Mapping[str, tuple[str, str, ConditionType]]] = {
    "LeaderWorkerSet": ("LeaderWorkerSet (https://lws.sigs.k8s.io)", "spec.resources.gpu.nodes", "Accepted"),
    "ServiceMonitor": (
        "the Prometheus Operator (https://prometheus-operator.dev)",
        "spec.monitoring.serviceMonitor",
        "Degraded",
    ),
}
"""Kind → the project that brings it, the field that asks for it, the condition that lacks it."""


def _taken(ref: Ref, seen: Observed) -> Problem:
    meta: Mapping[str, list[Mapping[str, str]]] = seen.children[ref]["metadata"]
    earlier = any(row["kind"] == KIND and row["name"] == seen.key.name for row in meta.get("ownerReferences", []))
    if earlier:
        return Problem(
            Reason.LEFTOVER,
            f"{ref.kind} {ref.name} of an earlier LlamaDeployment of this name is still being deleted: wait until it "
            "is gone",
        )
    return Problem(
        Reason.NAME_TAKEN,
        f"{ref.kind} {ref.name} belongs to somebody else and is not touched: create this LlamaDeployment under "
        f"another name, or delete it with kubectl delete {ref.kind.lower()} {ref.name}",
    )


def of_rollout(spec: LlamaDeploymentSpec, rollout: Rollout, *, waits: bool = False) -> Iterator[Problem]:
    """Yield why the pods are not those of the spec."""
    newest, keep = rollout.newest, rollout.keep
    if rollout.why == "NoSuchRevision":
        known = ", ".join(str(row.number) for row in reversed(rollout.revisions)) or "none"
        yield Problem(
            Reason.NO_SUCH_REVISION,
            f"spec.rollout.rollbackTo names revision {spec.rollout.rollback_to}, and there are {known}: name one of "
            "them, or remove the field",
        )
    elif rollout.why == "RolledBack" and newest is not None and keep is not None:
        runs = "runs again once its model is fetched anew" if waits else "runs again"
        yield Problem(
            Reason.ROLLED_BACK,
            f"revision {newest.number} failed and revision {keep.number} {runs} ({newest.reason}: "
            f"{newest.message}); change the spec, which is not tried again as it is",
        )


def of_keys(spec: LlamaDeploymentSpec, seen: Observed, plan: Plan) -> Iterator[Problem]:
    """Yield what is wrong with the API keys: there is none, or some cannot be used."""
    selector = spec.auth.api_key_secret_selector
    if selector is None or seen.key_secrets is None:
        return
    compiled = next((obj for obj in plan.desired if ref_of(obj) == wanted_refs(seen.key).keys), None)
    if compiled is not None and not compiled["data"]:
        yield Problem(
            Reason.NO_API_KEYS,
            f"no Secret of type Opaque with a key in it matches spec.auth.apiKeySecretSelector ({selector.written()}), "
            "so that nobody may call: label one so, or remove the selector",
        )
    if plan.ignored_keys:
        yield Problem(
            Reason.API_KEYS_IGNORED,
            f"of the API keys, these cannot be used: {short(', '.join(plan.ignored_keys))}; rename or remove them",
        )


def of_preflight(result: PreflightResult | None) -> Iterator[Problem]:
    """Yield the check that failed, if it holds something up that a person can mend."""
    if result is not None and result.holds and REASONS[Reason(result.reason)].problem:
        yield Problem(Reason(result.reason), result.message, "PreflightPassed")


def of_gateway(spec: LlamaDeploymentSpec, seen: Observed) -> Iterator[Problem]:
    """Yield that callers come by a gateway, or were to, that does not answer or that is not made."""
    if sleep.is_denied(spec, seen):
        yield Problem(
            Reason.GATEWAY_DISABLED,
            "spec.scaling.minReplicas is 0, and the operator is installed without gateways, so the pods never sleep: "
            "install its chart with gateway.enabled, or set minReplicas to 1",
        )
    live = seen.children.get(sleep.gateway_ref(seen.key))
    if not sleep.may_sleep(spec) or live is None or sleep.gateways(seen):
        return
    progress, led = condition_of(live, "Progressing"), sleep.leads_to_gateway(spec, seen)
    if led or (progress is not None and progress.get("reason") == "ProgressDeadlineExceeded"):
        what = "so callers reach nobody" if led else "so the pods are called without it, and never sleep"
        yield Problem(
            Reason.GATEWAY_UNAVAILABLE,
            f"no pod of Deployment {names.gateway(seen.key.name)} answers, {what}: kubectl describe its pods says why; "
            "spec.scaling.minReplicas 1 does without it",
            None if led else "Degraded",
        )
