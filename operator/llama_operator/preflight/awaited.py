"""What preflight waits for: the objects whose change could turn a failed check, and none besides. Pure."""

from collections.abc import Iterator

from llama_operator.plan import package
from llama_operator.plan.awaited import Awaited
from llama_operator.plan.observed import Finding, PreflightResult
from llama_operator.plan.touch import TOKEN_REASONS
from llama_operator.preflight.case import Case


def awaited(case: Case, result: PreflightResult | None) -> frozenset[Awaited]:
    """Return what the failed checks of a result wait for.

    Only those: what is unknown stands in the way of nothing, and where nothing is held the pods are made, so that
    waiting is the scheduler's. A token that was changed and is bad is waited for though it holds nothing.
    """
    if result is None or not (result.holds or result.partial):
        return frozenset()
    return frozenset(row for found in result.findings if found.state == "failed" for row in _of(found, case))


def _of(found: Finding, case: Case) -> Iterator[Awaited]:
    namespace, question = case.key.namespace, case.question
    match found.check:
        case "Secret":
            served = package.of(case.spec)
            secrets = {row.secret for row in served.wanted_secrets} if served is not None else {question.secret[0]}
            yield from (Awaited("Secret", namespace, name) for name in secrets)
        case "Model" if found.reason in TOKEN_REASONS:
            yield Awaited("Secret", namespace, question.secret[0])
        case "ImagePull":
            yield from (Awaited("Secret", namespace, name) for name in question.pull_secrets)
        case "Node":
            yield Awaited("Node")
        case "Memory" if case.spec.resources.gpu.count:  # a node's label says how much a GPU has
            yield Awaited("Node")
        case "Quota":  # a LimitRange may have the default that a quota demands
            yield Awaited("ResourceQuota", namespace)
            yield Awaited("LimitRange", namespace)
        case "Storage" if found.reason == "StorageClassNotFound":
            yield Awaited("StorageClass")
        case "Storage" if found.reason == "ModelClaimNotFound" and question.volume is not None:
            yield Awaited("PersistentVolumeClaim", namespace, question.volume)
        case _:
            return
