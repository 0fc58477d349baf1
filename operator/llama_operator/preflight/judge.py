"""All checks over all facts → whether pods and a volume may be claimed, and one sentence that says why not. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Final

from llama_operator.plan import engines, environment, package
from llama_operator.plan.observed import CheckState, Finding, PreflightResult
from llama_operator.plan.quantity import amount
from llama_operator.plan.refusals import sentence
from llama_operator.plan.revision import is_commit
from llama_operator.plan.sizing import cache_size
from llama_operator.plan.survey import HubRefusal, ModelFact, Survey, class_of
from llama_operator.preflight import architecture, classes, limits, memory, nodes, quota, secrets, storage
from llama_operator.preflight import package as of_package
from llama_operator.preflight.case import Case
from llama_operator.preflight.finding import failed, passed, unknown
from llama_operator.preflight.pod import Pod
from llama_operator.preflight.products import per_gpu
from llama_operator.preflight.storage import Cache

OFF: Final = PreflightResult(reason="ChecksOff", message="spec.preflight.mode is off: nothing was checked")
_BEAMS: Final = 4
"""The predict contract's beams of a request that says nothing."""
_MOST_CHARACTERS: Final = 1000
_WORST_FIRST: Final[tuple[CheckState, ...]] = ("failed", "unknown", "passed")


def judge(case: Case, survey: Survey) -> PreflightResult:
    """Return the result for a LlamaDeployment; the first check that fails gives reason and message.

    Where the Hub has not answered yet, nothing is claimed in any mode: it answers, or is given up, within seconds. Only
    more of pods that have served, whose model is in the cache, do not wait for it.
    """
    findings = tuple(map(_cut, _one_each(_findings(case, survey))))
    fact = survey.model if isinstance(survey.model, ModelFact) else None
    known = PreflightResult(
        findings=findings,
        enforced=case.spec.preflight.mode == "enforce",
        commit=fact.commit if fact else None,
        licence=fact.licence if fact else None,
        model_bytes=fact.total_bytes if fact else None,
    )
    failures = [row for row in findings if row.state == "failed"]
    if failures:
        first, others = failures[0], [row.reason for row in failures[1:]]
        also = f" (then also: {', '.join(others)})" if others else ""
        return replace(known, passed=False, reason=first.reason, message=f"{first.message}{also}")
    if survey.model is None and case.question.asks_hub and engines.of(case.spec).has_model and not case.served:
        message = f"the Hub at {case.question.endpoint} is being asked about {case.question.repo}"
        return replace(known, passed=False, enforced=True, reason="Checking", message=message)
    return replace(known, message=_passed(findings))


def _passed(findings: tuple[Finding, ...]) -> str:
    rows = {row.check: row for row in findings}
    first = [rows[check] for check in ("Model", "Memory", "Storage") if check in rows][:2]
    said = [row.message for row in (*first, *(row for row in findings if row.warns and row not in first))]
    unknowns = ", ".join(row.check for row in findings if row.state == "unknown")
    left = f"; not known, see status.preflight: {unknowns}" if unknowns else ""
    return f"every check passed: {'; '.join(said)}{left}"


def _findings(case: Case, survey: Survey) -> Iterator[Finding]:
    """Yield what every check finds, in the order in which a person would mend it."""
    spec, ref = case.spec, case.spec.model.token_secret_ref
    ranges = survey.limit_ranges or ()
    pod = limits.defaulted(case.pod, ranges)
    fact = survey.model if isinstance(survey.model, ModelFact) else None
    if ref is not None and case.question.asks_hub:
        yield secrets.check_token(ref, case.secret, case.key)
    served = package.of(spec)
    if served is not None:
        fact = None
        yield from of_package.check(served, case.package_secrets, case.key)
    elif engines.of(spec).has_model:
        yield from _of_model(case, survey)
    else:
        fact = None
        yield passed("Model", f"the engine {spec.engine.name} needs none")
    if fact is not None:
        yield architecture.check(spec.model.repo, fact, own_image=spec.engine.image is not None)
        yield _of_memory(case, pod, fact, survey)
    yield _of_nodes(case, pod, survey)
    yield from classes.check(pod, spec.scheduling, survey)
    if not case.question.asks_hub and (served is None or served.environment_key is None):
        if served is None:
            yield storage.check_source(case.spec.model, there=survey.volume_there)
        yield from _of_quotas(pod, spec.resources.gpu.nodes, survey, None, None)
        yield from secrets.check_pull(case.question.pull_secrets, survey, case.key)
        return
    cache = _cache(case, fact)
    claimed = None if cache.there else cache.size
    yield from _of_quotas(pod, spec.resources.gpu.nodes, survey, cache, claimed)
    yield from storage.check(cache, fact.total_bytes if fact else None, survey)
    yield from secrets.check_pull(case.question.pull_secrets, survey, case.key)


def _of_model(case: Case, survey: Survey) -> Iterator[Finding]:
    match survey.model:
        case ModelFact() as fact:
            licence = f", licence {fact.licence}" if fact.licence else ""
            gate = ", gated, access granted" if fact.gated else ""
            yield passed("Model", f"{case.question.repo} is at commit {fact.commit[:12]}{licence}{gate}{_chat(fact)}")
        case HubRefusal(reason=reason, words=words, fix=fix):
            said = sentence(reason, case.spec, case.secret, words, fix) or words
            if case.cached:
                yield unknown("Model", f"{_kept(case)}; meanwhile {said}")
            else:
                yield failed("Model", reason, said)
        case None:
            if case.served:
                yield unknown("Model", f"{_kept(case)}; the Hub at {case.question.endpoint} has not answered yet")


def _chat(fact: ModelFact) -> str:
    """Note that messages cannot be rendered; a model that only goes on with prompts is none the worse for it."""
    return ", without a chat template: send prompts, for messages are refused" if fact.chat_template is False else ""


def _kept(case: Case) -> str:
    revision = case.question.revision
    which = f"commit {revision[:12]}" if is_commit(revision) else revision
    return f"{case.question.repo} is in the cache, and pods start from there, at {which}"


def _of_memory(case: Case, pod: Pod, fact: ModelFact, survey: Survey) -> Finding:
    spec, gpu = case.spec, case.spec.resources.gpu
    limit = pod.limits.get("memory")
    sequences, lowers = spec.engine.max_concurrent_sequences, "spec.engine.maxConcurrentSequences"
    if sequences is None:
        # What must fit for anything to be answered: one request that says nothing.
        sequences, lowers = spec.generation.defaults.num_beams or _BEAMS, "spec.generation.defaults.num_beams"
    load = memory.Load(
        repo=spec.model.repo,
        gpus=gpu.nodes * int(pod.requests.get(gpu.resource_name, Decimal(0))),
        dtype=spec.engine.dtype,
        context=spec.engine.max_context_tokens,
        sequences=sequences,
        lowers=lowers,
        nodes=gpu.nodes,
        limit=None if limit is None else int(limit),
    )
    found = nodes.suitable(pod, gpu, survey.nodes or ())
    return memory.check(load, fact, per_gpu(gpu.memory, gpu.product, found))


def _of_nodes(case: Case, pod: Pod, survey: Survey) -> Finding:
    found = nodes.check(pod, case.spec.resources.gpu, survey.nodes)
    if found.state == "failed" and case.nodes_come:
        return unknown("Node", f"a node may be added when a pod waits for one; until then {found.message}")
    return found


def _of_quotas(pod: Pod, pods: int, survey: Survey, cache: Cache | None, claimed: Decimal | None) -> Iterator[Finding]:
    if survey.limit_ranges is None or survey.quotas is None:
        yield unknown("Quota", "the operator may not list the quotas and limit ranges of the namespace")
    found = [
        *quota.check(
            pod,
            survey.quotas or (),
            pods=pods,
            claim=claimed,
            storage_class=class_of(cache.storage_class if cache else None, survey.storage_classes or {}),
        ),
        *limits.check(pod, survey.limit_ranges or (), claim=claimed),
    ]
    yield from found or [passed("Quota", "the quotas and limit ranges of the namespace have room for a replica")]


def _cache(case: Case, fact: ModelFact | None) -> Cache:
    wanted, live = case.spec.cache, case.claim
    model_bytes = fact.total_bytes if fact else None
    guess = cache_size(case.spec.model.repo, model_bytes, shared=wanted.shared)
    size = amount(wanted.size or (guess if case.spec.package is None else environment.SIZE))
    if live is not None:
        held = amount(live["spec"]["resources"]["requests"]["storage"])
        size = max(held, amount(wanted.size)) if wanted.size else held
    return Cache(size=size, there=live is not None, storage_class=wanted.storage_class_name, shared=wanted.shared)


def _one_each(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the worst finding of each check, in the order of the checks; of equals the first."""
    rows: dict[str, Finding] = {}
    for row in findings:
        before = rows.get(row.check)
        if before is None or _rank(row) < _rank(before):
            rows[row.check] = row
    yield from rows.values()


def _rank(finding: Finding) -> tuple[int, bool]:
    return _WORST_FIRST.index(finding.state), not finding.warns


def _cut(finding: Finding) -> Finding:
    message = finding.message
    return finding if len(message) <= _MOST_CHARACTERS else replace(finding, message=f"{message[:_MOST_CHARACTERS]}…")
