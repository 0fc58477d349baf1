"""The parts put together: spec and what the cluster holds → what to apply, prune and touch.

Pure: no client, no clock, no log. `plan.objects`, `plan.pods` and `plan.workload` say what is wanted, `plan.diff`
whether it is there, `plan.wanted` whose it is, and `plan.claims` what of it has to be checked first.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llama_operator import names
from llama_operator.plan import (
    budget,
    environment,
    gateway,
    monitoring,
    network,
    objects,
    package,
    revisions,
    sharing,
    sleep,
    source,
)
from llama_operator.plan import keys as api_keys
from llama_operator.plan.claims import claimed
from llama_operator.plan.diff import changed, differs, stamped
from llama_operator.plan.history import Revision, Rollout
from llama_operator.plan.keys import ApiKeys
from llama_operator.plan.observed import Object, Observed, Plan, PreflightResult, Ref, ref_of
from llama_operator.plan.revision import to_load
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.strategy import surging
from llama_operator.plan.touch import touched
from llama_operator.plan.wanted import OPTIONAL_KINDS, is_foreign, wanted_refs
from llama_operator.plan.workload import advanced, deployment
from llama_operator.spec.model import LlamaDeploymentSpec


def build_plan(
    spec: LlamaDeploymentSpec,
    seen: Observed,
    settings: PlanSettings,
    preflight: PreflightResult | None = None,
    rollout: Rollout | None = None,
) -> Plan:
    """Return what to do about one LlamaDeployment; nothing when it is being deleted.

    While preflight holds, no pod and no volume is created, and a live Deployment is left as it is: it may serve. Fewer
    pods of the same template claim nothing, and are always let through; so is a way back. While a name is taken nothing
    is claimed, and so nothing checked: what is there stays as it is. A rollout is noted before its Deployment is
    applied.

    Raises:
        SpecError: if `spec.podTemplate` cannot be merged.
    """
    if "deletionTimestamp" in seen.body["metadata"]:
        return Plan()
    before = rollout or Rollout(revisions=revisions.read(seen))
    checked = preflight or PreflightResult()
    wanted, after = advanced(spec, seen, settings, checked, before)
    keys = api_keys.compiled(seen.key_secrets) if seen.key_secrets is not None else None
    loaded = _loaded(spec, seen, settings, checked, before)
    size = checked.model_bytes if before.keep is None else None
    cache = tuple(_cache(loaded, seen, settings, wanted.template, model_bytes=size)) if loaded else ()
    filler = next((obj for obj in cache if obj["kind"] == "Job"), None)
    account, *around = map(stamped, _parts(spec, seen, settings, keys))
    policies = map(stamped, _policies(*(loaded or (spec, "")), seen, settings))
    parts = (account, *policies, *cache, *around, *map(stamped, package.adopted(loaded[0] if loaded else spec, seen)))
    workload = stamped(deployment(spec, seen, wanted, before))
    waits = (
        sharing.waits(cache, seen)
        if package.of(spec) is None
        else loaded is not None and environment.waits(loaded[0], seen, filler)
    )
    foreign = tuple(ref for ref in map(ref_of, (*parts, workload)) if is_foreign(ref, seen))
    missing = tuple(ref for ref in map(ref_of, (*parts, workload)) if ref.kind in OPTIONAL_KINDS - seen.kinds)
    new = tuple(claimed((*parts, workload), seen))
    waiting = tuple(ref for ref in new if waits and ref == ref_of(workload))
    claims = new if before.keep is None and not foreign else ()  # a way back is held by no check
    held = (*waiting, *(claims if preflight is not None and preflight.holds else ()))
    if foreign:
        held = (*new, *(ref for ref in map(ref_of, cache) if ref not in seen.children))
    if wanted_refs(seen.key).keys in foreign:
        held = (*held, sleep.gateway_ref(seen.key))  # nothing is made that would trust what is in it
    left = bool(foreign) or ref_of(workload) in held
    known = replace(before if left else after, surges=surging(workload))
    notes = tuple(stamped(revisions.written(row, seen.key, seen.body)) for row in known.revisions)
    desired = (*parts, *notes, workload)
    mounting = (*seen.pods, *_templates(seen, wanted, known))
    mounted = {name for pod in mounting for name in source.claims_of(pod)}
    secrets = {Ref("v1", "Secret", name) for pod in mounting for name in source.secrets_of(pod)}
    packages = set(package.kept(known.revisions))
    return Plan(
        desired=desired,
        apply=tuple(
            sharing.applied(obj, seen) if sharing.is_shared(obj) else obj
            for obj in desired
            if ref_of(obj) not in (*foreign, *missing, *held)
            and not (left and obj is workload)
            and (
                sharing.must_apply(obj, seen)
                if sharing.is_shared(obj)
                else differs(obj, seen.children.get(ref_of(obj)), settled=ref_of(obj) in seen.settled)
            )
        ),
        prune=(
            *_unwanted(seen, {*map(ref_of, desired), *map(sharing.claim_ref, mounted), *secrets, *packages}),
            *(ref_of(obj) for obj in cache if _is_outdated(obj, seen) and not foreign),
        ),
        release=tuple(sharing.left_behind(seen, mounted | {ref_of(obj).name for obj in desired})),
        cache=cache[0]["metadata"]["name"] if cache else None,
        filler=filler["metadata"]["name"] if filler is not None else None,
        waits=waits,
        foreign=foreign,
        missing=missing,
        touch={} if wanted_refs(seen.key).keys in foreign else touched(seen, wanted_refs(seen.key).keys),
        changed=tuple(_changed(desired, seen)),
        ignored_keys=keys.ignored if keys is not None else (),
        claims=bool(set(claims) - set(waiting)),
        rollout=known,
    )


def _changed(desired: tuple[Object, ...], seen: Observed) -> Iterator[str]:
    """Yield the first field of each object that admission has made something else of."""
    for obj in desired:
        ref = ref_of(obj)
        if ref in seen.settled and (path := changed(seen.children[ref], obj)):
            yield f"{path} of {ref.kind} {ref.name}"


def _loaded(
    spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings, preflight: PreflightResult, rollout: Rollout
) -> tuple[LlamaDeploymentSpec, str] | None:
    """Return the spec with the model that the pods are to load, and its revision; None if pods go back to no cache."""
    if rollout.keep is None:
        return spec, to_load(spec, seen, preflight)
    if package.of(spec) is not None:
        return package.as_loaded(spec, seen, settings.packages, rollout.keep.spec)
    return source.as_loaded(spec, seen.key.name, rollout.keep.template)


def _cache(
    loaded: tuple[LlamaDeploymentSpec, str],
    seen: Observed,
    settings: PlanSettings,
    template: Object,
    *,
    model_bytes: int | None,
) -> Iterator[dict[str, Any]]:
    """Yield the volume that the model is kept in, stamped, and the Job that fills one that is shared."""
    spec, revision = loaded
    if (served := package.of(spec)) is not None:
        yield from environment.parts(spec, seen, served, template, settings)
    elif source.is_shared(spec):
        yield sharing.claim(spec, seen, revision, model_bytes=model_bytes)
        endpoint = spec.model.endpoint or settings.hub_endpoint
        if found := sharing.job(spec, seen, revision, template, endpoint):
            yield stamped(found)
    elif spec.model.source == "hub":
        live = seen.children.get(wanted_refs(seen.key).cache)
        yield stamped(objects.cache(spec, seen.key, seen.body, live, model_bytes=model_bytes))


def _is_outdated(obj: Object, seen: Observed) -> bool:
    """Whether a Job that several share must give way to this one."""
    return obj["kind"] == "Job" and sharing.is_shared(obj) and sharing.outdated(obj, seen)


def _templates(seen: Observed, wanted: Revision, rollout: Rollout) -> Iterator[Object]:
    """Yield the pod templates that pods may yet be made of, and those that may be gone back to."""
    yield wanted.template
    yield from (row.template for row in revisions.needed(rollout.revisions))
    if live := seen.children.get(wanted_refs(seen.key).workload):
        yield live["spec"]["template"]


def _parts(
    spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings, keys: ApiKeys | None
) -> Iterator[dict[str, Any]]:
    """Yield all that pods need around them but their model."""
    key, owner = seen.key, seen.body
    yield objects.service_account(key, owner)
    yield from budget.parts(spec, key, owner)
    yield from gateway.parts(spec, seen, settings)
    yield _predict_service(spec, seen)
    if keys is not None:
        yield api_keys.secret(keys, key, owner)
    if spec.monitoring.service_monitor.enabled:
        yield monitoring.service_monitor(spec, key, owner)


def _policies(
    spec: LlamaDeploymentSpec, revision: str, seen: Observed, settings: PlanSettings
) -> Iterator[dict[str, Any]]:
    """Yield who may reach the pods and what they may reach, for each kind of pod; nothing where nobody restricts it."""
    key, owner = seen.key, seen.body
    if not spec.network_policy.enabled:
        return
    yield network.policy(spec, key, owner, settings)
    if sleep.may_sleep(spec):
        yield network.gateway_policy(spec, key, owner, settings)
    if source.is_shared(spec):
        yield network.download_policy(spec, key, owner, settings, revision)
    if (served := package.of(spec)) is not None and served.environment_key is not None:
        yield network.environment_policy(spec, key, owner, settings, served)


def _predict_service(spec: LlamaDeploymentSpec, seen: Observed) -> dict[str, Any]:
    """Return the Service at whose address callers ask, whoever answers there."""
    key, gateways = seen.key, names.gateway_selector(seen.key.name)
    selector = gateways if sleep.leads_to_gateway(spec, seen) else objects.answering(spec, key)
    service = objects.service(spec, key, seen.body, selector)
    if sleep.may_sleep(spec):
        # The pods have a Service of their own, and whoever looks for theirs by its labels finds that one alone.
        service["metadata"]["labels"] |= gateways
    return service


def _unwanted(seen: Observed, wanted: set[Ref]) -> Iterator[Ref]:
    """Yield what this LlamaDeployment owns under our label and wants no more."""
    for ref, obj in seen.children.items():
        owners = obj["metadata"].get("ownerReferences", ())
        ours = any(owner["uid"] == seen.uid for owner in owners)
        labelled = obj["metadata"].get("labels", {}).get(names.LABEL_DEPLOYMENT) == seen.key.name
        if ours and labelled and ref not in wanted and "deletionTimestamp" not in obj["metadata"]:
            yield ref
