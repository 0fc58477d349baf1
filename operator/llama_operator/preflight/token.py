"""Is a token that was changed good? Asked while pods serve: they need none, and their next download does."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from llama_operator.plan.observed import Finding, Observed, PreflightResult
from llama_operator.plan.refusals import sentence
from llama_operator.plan.source import token_secret
from llama_operator.plan.survey import HubRefusal, ModelFact, Survey
from llama_operator.plan.touch import TOKEN_REASONS
from llama_operator.plan.wanted import wanted_refs
from llama_operator.preflight.case import Case
from llama_operator.preflight.finding import failed, passed
from llama_operator.preflight.secrets import check_token
from llama_operator.spec.model import LlamaDeploymentSpec

_VERIFIED: Final = "tokenVersion"


def is_due(spec: LlamaDeploymentSpec, seen: Observed) -> bool:
    """Whether there is a token that was never found good, beside pods that serve."""
    fact, key = seen.secret, token_secret(spec)[1]
    if spec.model.source != "hub":
        return False
    if fact is None or not fact.exists or key not in fact.keys or wanted_refs(seen.key).workload not in seen.children:
        return False
    before: dict[str, Any] = (seen.body.get("status") or {}).get("preflight") or {}
    return before.get(_VERIFIED) != fact.resource_version


def verdict(case: Case, survey: Survey) -> PreflightResult | None:
    """Return what the Hub says of the token; None where it says nothing of it, so that it is asked again."""
    findings = tuple(_findings(case, survey))
    if not findings:
        return None
    failures = [row for row in findings if row.state == "failed"]
    name, key = token_secret(case.spec)
    result = PreflightResult(findings=findings, enforced=False, partial=True)
    if failures:
        words = f"{failures[0].message}; pods that run need no token, the next download does"
        return replace(result, passed=False, reason=failures[0].reason, message=words)
    return replace(result, message=f"the token in Secret {name}, key {key}, is good: {findings[-1].message}")


def _findings(case: Case, survey: Survey) -> Iterator[Finding]:
    ref = case.spec.model.token_secret_ref
    match survey.model:
        case ModelFact() as fact:
            if ref is not None:
                yield check_token(ref, case.secret, case.key)
            yield passed("Model", f"{case.question.repo} may be read at commit {fact.commit[:12]}")
        case HubRefusal(reason=reason, words=words, fix=fix) if reason in TOKEN_REASONS:
            said = sentence(reason, case.spec, case.secret, words, fix) or words
            yield failed("Model", reason, said)
        case _:
            return
