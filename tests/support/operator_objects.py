"""Small builders of what a cluster holds, for tests of the operator's pure parts."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from llama_operator import names
from llama_operator.plan.build import build_plan
from llama_operator.plan.observed import (
    Key,
    NodeOffer,
    Object,
    Observed,
    Outcome,
    Plan,
    PreflightResult,
    Report,
    SecretFact,
    Usage,
    ref_of,
)
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.sleep import at_rest
from llama_operator.plan.survey import Survey
from llama_operator.preflight.case import ask
from llama_operator.preflight.judge import OFF, judge
from llama_operator.rollout.decide import decide
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.parse import parse
from llama_operator.status.report import report
from tests.support.survey_objects import SURVEY

KEY = Key("models", "llama")
UID = "uid-of-llama"
NOW = datetime(2026, 11, 24, 8, 10, tzinfo=UTC)
SETTINGS = PlanSettings(inference_image="llama-inference:1")
REPO = "meta-llama/Llama-2-70b-chat-hf"


def a_body(*, status: Object | None = None, **spec: Any) -> dict[str, Any]:
    """A raw LlamaDeployment; keyword arguments are fields of its spec."""
    body: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": UID, "generation": 3},
        "spec": {"model": {"repo": REPO}, **spec},
    }
    return body if status is None else {**body, "status": status}


def a_spec(**spec: Any) -> LlamaDeploymentSpec:
    """A typed spec; keyword arguments are its fields as in YAML."""
    return parse(a_body(**spec))


def observed(
    *pods: Object,
    body: Object | None = None,
    children: Iterable[Object] = (),
    startup: Mapping[str, Object] | None = None,
    secret: SecretFact | None = None,
    nodes: tuple[NodeOffer, ...] = (),
    events: tuple[Object, ...] = (),
    replica_sets: tuple[Object, ...] = (),
    kinds: frozenset[str] = frozenset(),
    usage: Mapping[str, Usage] | None = None,
    key_secrets: tuple[Object, ...] | None = None,
    minutes: float = 0,
) -> Observed:
    """What one pass over the cluster found, `minutes` after `NOW`."""
    return Observed(
        key=KEY,
        body=body or a_body(),
        now=NOW + timedelta(minutes=minutes),
        children={ref_of(obj): obj for obj in children},
        pods=pods,
        replica_sets=replica_sets,
        key_secrets=key_secrets,
        startup=startup or {},
        secret=secret,
        nodes=nodes,
        events=events,
        kinds=kinds,
        usage=usage or {},
    )


def plan(seen: Observed, *, settings: PlanSettings = SETTINGS, preflight: PreflightResult | None = None) -> Plan:
    """The plan for what was seen, by the spec in its body."""
    spec = at_rest(parse(seen.body), seen)
    return build_plan(spec, seen, settings, preflight, decide(spec, seen, settings))


def desired(kind: str, seen: Observed | None = None, *, settings: PlanSettings = SETTINGS) -> Any:
    """The one desired object of a kind."""
    (found,) = [obj for obj in plan(seen or observed(), settings=settings).desired if obj["kind"] == kind]
    return found


def pod_spec(**spec: Any) -> Any:
    """The pod spec of the Deployment that a spec's fields lead to."""
    return desired("Deployment", observed(body=a_body(**spec)))["spec"]["template"]["spec"]


def server(**spec: Any) -> Any:
    """The server's container that a spec's fields lead to."""
    return pod_spec(**spec)["containers"][0]


def applied(body: Object | None = None, *, settings: PlanSettings = SETTINGS) -> tuple[Object, ...]:
    """All objects of a LlamaDeployment as they are once applied."""
    return plan(observed(body=body or a_body()), settings=settings).desired


def rolled_out(replicas: int = 1, body: Object | None = None) -> tuple[Object, ...]:
    """All objects, the Deployment reporting that each pod is updated and available, which is noted."""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), replicas)
    seen = observed(body=body or a_body(), children=with_deployment({**counts, "observedGeneration": 1}, body))
    notes = {ref_of(obj): obj for obj in plan(seen).desired if obj["kind"] == "ControllerRevision"}
    return tuple(notes.get(ref, obj) for ref, obj in seen.children.items())


def with_deployment(status: Object, body: Object | None = None) -> tuple[Object, ...]:
    """All objects, the Deployment with this status."""
    return tuple(
        {**obj, "metadata": {**obj["metadata"], "generation": 1}, "status": status}
        if obj["kind"] == "Deployment"
        else obj
        for obj in applied(body)
    )


def a_pod(name: str = "llama-1", *, age_minutes: float = 5, **status: Any) -> dict[str, Any]:
    """A pod that was just created; keyword arguments are fields of its status."""
    created = NOW - timedelta(minutes=age_minutes)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": names.child_labels(KEY.name), "creationTimestamp": stamp(created)},
        "spec": {},
        "status": {"phase": "Pending", **status},
    }


def placed(pod: Object, state: Object | None = None, last: Object | None = None) -> dict[str, Any]:
    """The pod on a node since one second after its creation, its container in `state`."""
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(created + timedelta(seconds=1))}
    container = {"name": names.CONTAINER, "image": "llama-inference:1", "state": state or {}, "lastState": last or {}}
    status = {**pod["status"], "conditions": [scheduled], "containerStatuses": [container]}
    return {**pod, "spec": {"nodeName": "node-1"}, "status": status}


def running(pod: Object) -> dict[str, Any]:
    """The pod with its server started three seconds after its creation."""
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return placed(pod, {"running": {"startedAt": stamp(created + timedelta(seconds=3))}})


def ready(pod: Object, *, after_seconds: float = 60) -> dict[str, Any]:
    """The pod answering since `after_seconds` after its creation."""
    up = running(pod)
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    since = stamp(created + timedelta(seconds=after_seconds))
    conditions = [*up["status"]["conditions"], {"type": "Ready", "status": "True", "lastTransitionTime": since}]
    return {**up, "status": {**up["status"], "phase": "Running", "conditions": conditions}}


def unschedulable(pod: Object, words: str, gpus: int = 2, **spec: Any) -> dict[str, Any]:
    """The pod that the scheduler has no node for, in its words; keyword arguments are of its spec."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    container = {"name": names.CONTAINER, "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    waits = {"containers": [container], **spec}
    return {**pod, "spec": waits, "status": {**pod["status"], "conditions": [condition]}}


def waiting(pod: Object, reason: str, words: str = "") -> dict[str, Any]:
    """The placed pod whose container waits for a reason of the kubelet's."""
    return placed(pod, {"waiting": {"reason": reason, "message": words}})


def a_report(stage: str, *, error: Object | None = None, **fields: Any) -> dict[str, Any]:
    """A start-up report with all stages before `stage` done; `fields` are of the running stage."""
    order = ("Resolve", "Download", "Load", "WarmUp", "Golden")
    stages: list[dict[str, Any]] = []
    for name in order:
        if order.index(name) < order.index(stage):
            stages.append({"name": name, "state": "done", "started": "2026-11-24T08:05:05Z", "seconds": 1.23})
        elif name == stage:
            stages.append(
                {"name": name, "state": "running", "started": "2026-11-24T08:05:10.5Z", "seconds": 9, **fields}
            )
        else:
            stages.append({"name": name, "state": "pending"})
    return {"stage": stage, "ready": False, "model": REPO, "revision": "main", "stages": stages, "error": error}


def failing(reason: str, words: str = "what the server says") -> dict[str, Any]:
    """A start-up report whose download failed."""
    return a_report("Download", error={"reason": reason, "message": words, "attempt": 3, "retry_in_seconds": 8.0})


def a_secret(*keys: str, name: str = names.DEFAULT_TOKEN_SECRET, version: str = "7") -> SecretFact:
    """The fact that a Secret exists with these keys."""
    return SecretFact(name=name, exists=True, keys=frozenset(keys), resource_version=version)


def a_node(gpus: int, product: str | None = "NVIDIA-A100-SXM4-80GB", name: str = "node-1") -> NodeOffer:
    """The fact of a node with so many GPUs."""
    labels = {names.LABEL_GPU_PRODUCT: product} if product else {}
    return NodeOffer(name=name, labels=labels, allocatable={"nvidia.com/gpu": str(gpus)} if gpus else {})


def stamp(time: datetime) -> str:
    """A time as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def later(seen: Observed, status: Object, *pods: Object, minutes: float = 1, **changes: Any) -> Observed:
    """The same LlamaDeployment later, with the status that was written and these pods."""
    body = {**seen.body, "status": status}
    return replace(seen, body=body, pods=pods or seen.pods, now=seen.now + timedelta(minutes=minutes), **changes)


def preflight(seen: Observed, survey: Survey = SURVEY) -> PreflightResult | None:
    """What preflight finds about what was seen; None where it is not asked."""
    spec, draft = parse(seen.body), plan(seen)
    if spec.preflight.mode == "off":
        return OFF
    return judge(ask(spec, seen, draft, SETTINGS), survey) if draft.claims else None


def report_on(seen: Observed, outcome: Outcome | None = None, survey: Survey = SURVEY) -> Report:
    """The report that reconcile makes of what was seen."""
    found = preflight(seen, survey)
    return report(at_rest(parse(seen.body), seen), seen, plan(seen, preflight=found), outcome, found)


def condition(found: Report, kind: str) -> dict[str, Any]:
    """One condition of a report."""
    return next(row for row in found.status["conditions"] if row["type"] == kind)


def answers(found: Report) -> dict[str, str]:
    """Each condition's status and reason."""
    return {row["type"]: f"{row['status']} {row['reason']}" for row in found.status["conditions"]}
