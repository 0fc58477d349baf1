"""Replicas over several nodes: the Deployment that is planned, as a LeaderWorkerSet, and back.

Everything else plans, judges and rolls out a Deployment. Where `resources.gpu.nodes` is above 1, what is seen of the
LeaderWorkerSet is shown to it as the Deployment that it stands for (`as_seen`), and the Deployment that was planned
is applied as a LeaderWorkerSet (`as_groups`). Leaders are the replicas' pods; workers only compute for theirs.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from llama_operator import names
from llama_operator.plan import deadline
from llama_operator.plan.observed import Object, Observed, Plan, Ref, ref_of
from llama_operator.plan.wanted import OPTIONAL_KINDS, is_ours, wanted_refs
from llama_operator.spec.model import LlamaDeploymentSpec

_LEADER: Final = "0"
_NONE: Final = (0, "0%")


def as_seen(spec: LlamaDeploymentSpec, seen: Observed) -> Observed:
    """Return what was seen, leaders as the pods and the LeaderWorkerSet as the Deployment, where there are nodes."""
    if spec.resources.gpu.nodes == 1:
        return seen
    wanted = wanted_refs(seen.key)
    leaders = tuple(pod for pod in seen.pods if _index(pod) == _LEADER)
    others = tuple(pod for pod in seen.pods if _index(pod) != _LEADER)
    # A Deployment from when one node was enough is none of these; it goes once the groups are there.
    children = {ref: obj for ref, obj in seen.children.items() if ref != wanted.workload}
    live = children.get(wanted.group)
    if live is not None:
        children[wanted.workload] = _as_deployment(live, spec, leaders, seen)
    settled = seen.settled | ({wanted.workload} if wanted.group in seen.settled else frozenset())
    return replace(seen, children=children, pods=leaders, workers=others, settled=settled)


def _index(pod: Object) -> str | None:
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return labels.get(names.LABEL_WORKER_INDEX)


def _as_deployment(
    group: Object, spec: LlamaDeploymentSpec, leaders: tuple[Object, ...], seen: Observed
) -> dict[str, Any]:
    wanted, told = group["spec"], group.get("status") or {}
    metadata = group["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    limits: Mapping[str, Any] = (wanted.get("rolloutStrategy") or {}).get("rollingUpdateConfiguration") or {}
    paused = {"paused": True} if limits.get("partition") else {}
    digest = annotations.get(names.ANNOTATION_TEMPLATE)
    present = tuple(pod for pod in leaders if _template_of(pod) == digest)
    counts = {
        "replicas": told.get("replicas", 0),
        "updatedReplicas": min(told.get("updatedReplicas", 0), len(present)),
        "availableReplicas": told.get("readyReplicas", 0),
    }
    done = set(counts.values()) == {wanted.get("replicas", 1)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata, "name": metadata["name"].removesuffix(names.GROUP_SUFFIX)},
        "spec": {
            "replicas": wanted.get("replicas", 1),
            "selector": {"matchLabels": names.pod_selector(metadata["name"].removesuffix(names.GROUP_SUFFIX))},
            "progressDeadlineSeconds": spec.rollout.progress_deadline_seconds,
            "strategy": _strategy(annotations, limits),
            "template": wanted["leaderWorkerTemplate"]["workerTemplate"],
            **paused,
        },
        "status": {
            # A LeaderWorkerSet does not say which generation its counts are of; the pods say which template they have.
            "observedGeneration": metadata.get("generation", 0),
            **counts,
            "conditions": [] if done or paused else deadline.conditions(group, present, spec, seen),
        },
    }


def _strategy(annotations: Mapping[str, str], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was planned, if that is what led to these limits."""
    try:
        planned: dict[str, Any] = json.loads(annotations.get(names.ANNOTATION_STRATEGY, "{}"))
    except ValueError:
        planned = {}
    as_planned = planned and _limits(planned).items() <= dict(limits).items()
    return planned if as_planned else {"type": "RollingUpdate", "rollingUpdate": dict(limits)}


def _template_of(pod: Object) -> str | None:
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    return annotations.get(names.ANNOTATION_TEMPLATE)


def as_groups(spec: LlamaDeploymentSpec, seen: Observed, plan: Plan) -> Plan:
    """Return the plan with its Deployment as a LeaderWorkerSet, where there are nodes.

    Args:
        spec: what is wanted.
        seen: what there is, before `as_seen`.
        plan: what is to be done about what `as_seen` showed.
    """
    wanted = wanted_refs(seen.key)
    if spec.resources.gpu.nodes == 1:
        # What ran on several nodes goes on until there is what takes its place.
        kept = () if wanted.workload in seen.children else (wanted.group,)
        return replace(plan, prune=tuple(ref for ref in plan.prune if ref not in kept))
    known = wanted.group.kind not in OPTIONAL_KINDS - seen.kinds
    apply = (_as_group(obj, spec) if ref_of(obj) == wanted.workload else obj for obj in plan.apply)
    return replace(
        plan,
        apply=tuple(obj for obj in apply if known or ref_of(obj) != wanted.group),
        prune=(*(ref for ref in plan.prune if ref != wanted.group), *_outlived(seen, wanted.workload, wanted.group)),
        missing=plan.missing if known else (*plan.missing, wanted.group),
    )


def _outlived(seen: Observed, workload: Ref, group: Ref) -> tuple[Ref, ...]:
    live = seen.children.get(workload)
    gone = live is None or not is_ours(live, seen) or "deletionTimestamp" in live["metadata"]
    return () if gone or group not in seen.children else (workload,)


def _as_group(deployment: Object, spec: LlamaDeploymentSpec) -> dict[str, Any]:
    metadata, wanted = deployment["metadata"], deployment["spec"]
    annotations = metadata["annotations"]
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {
            **metadata,
            "name": f"{metadata['name']}{names.GROUP_SUFFIX}",
            "annotations": {
                **annotations,
                names.ANNOTATION_STRATEGY: json.dumps(wanted["strategy"], sort_keys=True),
            },
        },
        "spec": {
            "replicas": wanted["replicas"],
            # As soon as the leader is made, not ready: it is ready only once its workers have joined it.
            "startupPolicy": "LeaderCreated",
            "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": _update(wanted)},
            "leaderWorkerTemplate": {
                "size": spec.resources.gpu.nodes,
                # Ranks that have lost one of them cannot go on.
                "restartPolicy": "RecreateGroupOnPodRestart",
                "workerTemplate": _stamped(wanted["template"], annotations[names.ANNOTATION_TEMPLATE]),
            },
        },
    }


def _update(wanted: Object) -> dict[str, Any]:
    # What is below the partition is left as it is.
    partition = wanted["replicas"] if wanted.get("paused") else 0
    return {**_limits(wanted["strategy"]), "partition": partition}


def _limits(strategy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Deployment's strategy as a LeaderWorkerSet has it.

    With no group that may be away, its controller (v0.8.0) makes no room for the last ones and never ends: one may.
    """
    limits = strategy.get("rollingUpdate") or {"maxSurge": 0, "maxUnavailable": "100%"}
    return {**limits, "maxUnavailable": 1} if limits["maxUnavailable"] in _NONE else dict(limits)


def _stamped(template: Object, digest: str) -> dict[str, Any]:
    metadata = template["metadata"]
    annotations = {**metadata.get("annotations", {}), names.ANNOTATION_TEMPLATE: digest}
    return {**template, "metadata": {**metadata, "annotations": annotations}}
