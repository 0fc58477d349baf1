"""The parts put together: spec and what the cluster holds → what to apply, prune and touch.

Pure: no client, no clock, no log. `plan.objects` and `plan.pods` say what is wanted, `plan.diff` whether it is there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from llama_operator import names
from llama_operator.plan import budget, gateway, monitoring, network, objects, pods, revisions, sharing, sleep, source
from llama_operator.plan import keys as api_keys
from llama_operator.plan.diff import contains, differs, digest, stamped
from llama_operator.plan.history import Revision, Rollout
from llama_operator.plan.keys import ApiKeys
from llama_operator.plan.observed import Key, Object, Observed, Plan, PreflightResult, Ref, ref_of
from llama_operator.plan.revision import asked_for, commit_of, running
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.strategy import strategy, surging
from llama_operator.plan.touch import touched
from llama_operator.spec.model import LlamaDeploymentSpec

OPTIONAL_KINDS: Final = frozenset({"ServiceMonitor", "LeaderWorkerSet"})
"""Kinds of other projects, which a cluster may not know."""


class Wanted(NamedTuple):
    """What a plan may apply."""

    account: Ref
    cache: Ref
    service: Ref
    keys: Ref
    workload: Ref
    network_policy: Ref
    download_policy: Ref
    service_monitor: Ref
    group: Ref


def wanted_refs(key: Key) -> Wanted:
    """Return what a plan for `key` may apply."""
    return Wanted(
        account=Ref("v1", "ServiceAccount", key.name),
        cache=Ref("v1", "PersistentVolumeClaim", names.cache_claim(key.name)),
        service=Ref("v1", "Service", key.name),
        keys=Ref("v1", "Secret", names.api_keys(key.name)),
        workload=Ref("apps/v1", "Deployment", key.name),
        network_policy=Ref("networking.k8s.io/v1", "NetworkPolicy", key.name),
        download_policy=Ref("networking.k8s.io/v1", "NetworkPolicy", names.download_policy(key.name)),
        service_monitor=Ref("monitoring.coreos.com/v1", "ServiceMonitor", key.name),
        group=Ref("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", f"{key.name}{names.GROUP_SUFFIX}"),
    )


def named_refs(key: Key, body: Object) -> tuple[Ref, ...]:
    """Return every name that a plan for a raw LlamaDeployment may apply to, whoever holds it now."""
    spec: Mapping[str, Any] = body.get("spec") or {}
    sleeps = (spec.get("scaling") or {}).get("minReplicas") == 0
    budgets = (budget.ref(key),) if spec.get("disruptionBudget") else ()
    return (*wanted_refs(key), *(gateway.refs(key) if sleeps else ()), *budgets)


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
    wanted, after = _rollout(spec, seen, settings, checked, before)
    keys = api_keys.compiled(seen.key_secrets) if seen.key_secrets is not None else None
    loaded = _loaded(spec, seen, checked, before)
    size = checked.model_bytes if before.keep is None else None
    cache = tuple(_cache(loaded, seen, settings, wanted.template, model_bytes=size)) if loaded else ()
    account, *around = map(stamped, _parts(spec, seen, settings, keys))
    policies = map(stamped, _policies(*(loaded or (spec, "")), seen, settings))
    parts = (account, *policies, *cache, *around)
    workload = stamped(_workload(spec, seen, wanted, before))
    waits = sharing.waits(cache, seen)
    foreign = tuple(ref for ref in map(ref_of, (*parts, workload)) if _is_foreign(ref, seen))
    missing = tuple(ref for ref in map(ref_of, (*parts, workload)) if ref.kind in OPTIONAL_KINDS - seen.kinds)
    new = tuple(_claims((*parts, workload), seen))
    waiting = tuple(ref for ref in new if waits and ref == ref_of(workload))
    claims = new if before.keep is None and not foreign else ()  # a way back is held by no check
    held = (*waiting, *(claims if preflight is not None and preflight.holds else ()))
    if foreign:
        held = (*new, *(ref for ref in map(ref_of, cache) if ref not in seen.children))
    left = bool(foreign) or ref_of(workload) in held
    known = replace(before if left else after, surges=surging(workload))
    notes = tuple(stamped(revisions.written(row, seen.key, seen.body)) for row in known.revisions)
    desired = (*parts, *notes, workload)
    mounted = {name for pod in (*seen.pods, *_templates(seen, wanted, known)) for name in source.claims_of(pod)}
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
                else differs(obj, seen.children.get(ref_of(obj)))
            )
        ),
        prune=(
            *_unwanted(seen, {*map(ref_of, desired), *map(sharing.claim_ref, mounted)}),
            *(ref_of(obj) for obj in cache if obj["kind"] == "Job" and not foreign and sharing.outdated(obj, seen)),
        ),
        release=tuple(sharing.left_behind(seen, mounted | {ref_of(obj).name for obj in desired})),
        cache=cache[0]["metadata"]["name"] if cache else None,
        waits=waits,
        foreign=foreign,
        missing=missing,
        touch={} if wanted_refs(seen.key).keys in foreign else touched(seen, wanted_refs(seen.key).keys),
        ignored_keys=keys.ignored if keys is not None else (),
        claims=bool(set(claims) - set(waiting)),
        rollout=known,
    )


def _claims(desired: Iterable[Object], seen: Observed) -> Iterator[Ref]:
    """Yield what would create a volume, or pods that are not there."""
    for obj in desired:
        ref = ref_of(obj)
        if ref == sleep.gateway_ref(seen.key):
            continue  # it has no GPU, and its room is next to nothing
        if _is_claim(obj, seen.children.get(ref)):
            yield ref


def _is_claim(obj: Object, live: Object | None) -> bool:
    """Whether applying `obj` would create a volume, or pods that are not there."""
    if obj["kind"] not in ("PersistentVolumeClaim", "Deployment"):
        return False
    if live is None:
        return True
    if obj["kind"] == "PersistentVolumeClaim" or not obj["spec"]["replicas"]:
        return False
    annotations: Mapping[str, str] = live["metadata"].get("annotations") or {}
    same = annotations.get(names.ANNOTATION_TEMPLATE) == obj["metadata"]["annotations"][names.ANNOTATION_TEMPLATE]
    same = same and contains(live["spec"]["template"], obj["spec"]["template"])
    return not same or obj["spec"]["replicas"] > live["spec"].get("replicas", 1)


def _loaded(
    spec: LlamaDeploymentSpec, seen: Observed, preflight: PreflightResult, rollout: Rollout
) -> tuple[LlamaDeploymentSpec, str] | None:
    """Return the spec with the model that the pods are to load, and its revision; None if pods go back to no cache."""
    if rollout.keep is None:
        return spec, _revision(spec, seen, preflight)
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
    if source.is_shared(spec):
        yield sharing.claim(spec, seen, revision, model_bytes=model_bytes)
        endpoint = spec.model.endpoint or settings.hub_endpoint
        if found := sharing.job(spec, seen, revision, template, endpoint):
            yield stamped(found)
    elif spec.model.source == "hub":
        live = seen.children.get(wanted_refs(seen.key).cache)
        yield stamped(objects.cache(spec, seen.key, seen.body, live, model_bytes=model_bytes))


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


def _predict_service(spec: LlamaDeploymentSpec, seen: Observed) -> dict[str, Any]:
    """Return the Service at whose address callers ask, whoever answers there."""
    key, gateways = seen.key, names.gateway_selector(seen.key.name)
    selector = gateways if sleep.leads_to_gateway(spec, seen) else objects.answering(spec, key)
    service = objects.service(spec, key, seen.body, selector)
    if sleep.may_sleep(spec):
        # The pods have a Service of their own, and whoever looks for theirs by its labels finds that one alone.
        service["metadata"]["labels"] |= gateways
    return service


def _workload(spec: LlamaDeploymentSpec, seen: Observed, wanted: Revision, rollout: Rollout) -> dict[str, Any]:
    live = seen.children.get(wanted_refs(seen.key).workload)
    # A way back is taken as the way there was: whatever room there was may be what the failed pods hold.
    begins = revisions.template_of(live) != revisions.template_of(wanted) and rollout.why != "RolledBack"
    how = strategy(spec.rollout, live, begins=begins, room=rollout.room)
    annotations = {**wanted.annotations, names.ANNOTATION_REVISION: str(wanted.number)}
    return objects.deployment(
        spec, seen.key, seen.body, template=wanted.template, annotations=annotations, strategy=how
    )


def _rollout(
    spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings, preflight: PreflightResult, rollout: Rollout
) -> tuple[Revision, Rollout]:
    """Return the rollout that the pods are to have, and all of them."""
    if rollout.keep is not None:
        return rollout.keep, replace(rollout, running=rollout.keep.number)
    template, annotations = _template(spec, seen, settings, preflight)
    wanted = Revision(
        number=0,
        template=template,
        annotations=annotations,
        intent=intent(spec, seen.key, settings),
        spec=revisions.about_pods(spec),
        started=revisions.stamp(seen.now),
    )
    return revisions.advance(rollout, wanted, seen.children.get(wanted_refs(seen.key).workload))


def intent(spec: LlamaDeploymentSpec, key: Key, settings: PlanSettings) -> str:
    """Return a digest of all that the spec says about pods, the same whatever the branch and default image are now.

    Raises:
        SpecError: if `spec.podTemplate` cannot be merged.
    """
    return digest(pods.template(spec, key.name, spec.engine.image or "", asked_for(spec.model), settings))


def _template(
    spec: LlamaDeploymentSpec, seen: Observed, settings: PlanSettings, preflight: PreflightResult
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the pod template, and the annotations of its Deployment.

    Where the spec names no image, the pods keep the default that they run until something else in their template
    changes: an upgrade of the operator must not restart them.
    """
    name, live = seen.key.name, seen.children.get(wanted_refs(seen.key).workload)
    revision = _revision(spec, seen, preflight)
    annotations = {names.ANNOTATION_MODEL: asked_for(spec.model)}
    image = spec.engine.image
    if image is None:
        rest = digest(pods.template(spec, name, "", revision, settings))
        annotations[names.ANNOTATION_DEFAULT_IMAGE] = rest
        image = settings.inference_image
        if live is not None and live["metadata"].get("annotations", {}).get(names.ANNOTATION_DEFAULT_IMAGE) == rest:
            image = running_image(live) or image
    template = pods.template(spec, name, image, revision, settings)
    return template, {**annotations, names.ANNOTATION_TEMPLATE: digest(template)}


def _revision(spec: LlamaDeploymentSpec, seen: Observed, preflight: PreflightResult) -> str:
    return pinned(spec, seen) or preflight.commit or spec.model.revision


def pinned(spec: LlamaDeploymentSpec, seen: Observed) -> str | None:
    """Return the revision that the pods have, or had and may find in the cache; None if there is none to keep."""
    wanted = wanted_refs(seen.key)
    live = seen.children.get(wanted.workload)
    found = running(live, spec.model) if live is not None and is_ours(live, seen) else None
    if found or spec.model.source != "hub":
        return found
    before = commit_of(seen.body, spec.model)
    name = source.claim_name(spec, seen.key.name, before) if before else None
    return before if name and sharing.claim_ref(name) in seen.children else None


def running_image(deployment: Object) -> str | None:
    """Return the image of the inference server in a live Deployment."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return next((row["image"] for row in containers if row["name"] == names.CONTAINER), None)


def is_ours(obj: Object, seen: Observed) -> bool:
    """Whether a live object belongs to this LlamaDeployment: it owns it, or it is the cache that was retained."""
    owners = obj["metadata"].get("ownerReferences", ())
    if any(owner["uid"] == seen.uid for owner in owners) or sharing.is_shared(obj):
        return True
    labels: Mapping[str, str] = obj["metadata"].get("labels", {})
    retained = labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
    retained = retained and labels.get(names.LABEL_DEPLOYMENT) == seen.key.name
    return obj["kind"] == "PersistentVolumeClaim" and not owners and retained


def _is_foreign(ref: Ref, seen: Observed) -> bool:
    live = seen.children.get(ref)
    return live is not None and not is_ours(live, seen)


def _unwanted(seen: Observed, wanted: set[Ref]) -> Iterator[Ref]:
    """Yield what this LlamaDeployment owns under our label and wants no more."""
    for ref, obj in seen.children.items():
        owners = obj["metadata"].get("ownerReferences", ())
        ours = any(owner["uid"] == seen.uid for owner in owners)
        labelled = obj["metadata"].get("labels", {}).get(names.LABEL_DEPLOYMENT) == seen.key.name
        if ours and labelled and ref not in wanted and "deletionTimestamp" not in obj["metadata"]:
            yield ref
