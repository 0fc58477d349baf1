"""One LlamaDeployment before its judge: what its spec and its plan say that the checks need."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.plan.observed import Key, Object, Observed, Plan, SecretFact, ref_of
from llama_operator.plan.revision import is_commit, pinned
from llama_operator.plan.revisions import template_of
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.sharing import claim_ref
from llama_operator.plan.source import token_secret
from llama_operator.plan.survey import PUBLIC_HUB, Question
from llama_operator.plan.wanted import wanted_refs
from llama_operator.preflight.pod import Pod, read
from llama_operator.spec.model import LlamaDeploymentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is judged.

    `package_secrets` is known of those that a package declares; `pod` is what a replica would be; `claim` the live
    cache's PVC, or that of a package's environment, None if there is none yet; `cached` tells whether
    the cache holds the model at the commit that the pods would load, so that they need no Hub, and `served` whether
    moreover pods of the very same template have served, so that the Hub has been heard of it; `nodes_come` whether
    nodes are added when pods wait for them.
    """

    spec: LlamaDeploymentSpec
    key: Key
    secret: SecretFact | None
    package_secrets: tuple[SecretFact, ...]
    pod: Pod
    claim: Object | None
    question: Question
    cached: bool
    served: bool
    nodes_come: bool


def ask(spec: LlamaDeploymentSpec, seen: Observed, plan: Plan, settings: PlanSettings) -> Case:
    """Return the case of a LlamaDeployment, with the question whose answers its judge needs."""
    wanted = wanted_refs(seen.key)
    desired = {ref_of(obj): obj for obj in plan.desired}
    pod_spec: Mapping[str, Any] = desired[wanted.workload]["spec"]["template"]["spec"]
    revision = pinned(spec, seen)
    cache = claim_ref(plan.cache) if plan.cache else None
    cached = revision is not None and cache in seen.children and _was_cached(seen.body)
    return Case(
        spec=spec,
        key=seen.key,
        secret=seen.secret,
        package_secrets=seen.package_secrets,
        pod=read(pod_spec),
        claim=seen.children.get(cache) if cache else None,
        question=Question(
            endpoint=spec.model.endpoint or settings.hub_endpoint or PUBLIC_HUB,
            repo=spec.model.repo,
            revision=revision or spec.model.revision,
            secret=token_secret(spec),
            pull_secrets=tuple(row["name"] for row in pod_spec.get("imagePullSecrets") or ()),
            storage_class=spec.cache.storage_class_name,
            asks_hub=spec.model.source == "hub",
            volume=spec.model.claim.name if spec.model.claim else None,
            priority_class=pod_spec.get("priorityClassName"),
            runtime_class=pod_spec.get("runtimeClassName"),
        ),
        cached=cached,
        served=cached and is_commit(revision) and _has_served(desired[wanted.workload], plan),
        nodes_come=settings.nodes_on_demand,
    )


def _was_cached(body: Object) -> bool:
    rows = (body.get("status") or {}).get("conditions") or ()
    return any(row.get("type") == "ModelCached" and row.get("status") == "True" for row in rows)


def _has_served(workload: Object, plan: Plan) -> bool:
    rows = plan.rollout.revisions
    return any(row.outcome == "Succeeded" and template_of(row) == template_of(workload) for row in rows)
