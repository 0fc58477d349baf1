"""What the cluster holds and what a plan wants of it: the values that planning, status and the cluster exchange.

Objects stay raw dictionaries as the API server gives them; the LlamaDeployment's spec is typed (`spec.model`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from llama_operator.names import LABEL_GPU_PRODUCT, TAINT_CORDONED
from llama_operator.plan.history import Rollout

Object = Mapping[str, Any]
"""A Kubernetes object as JSON."""
Json = Any
"""A value as JSON has it."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which LlamaDeployment."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Ref:
    """Which object, within the namespace of the LlamaDeployment."""

    api_version: str
    kind: str
    name: str


def ref_of(obj: Object) -> Ref:
    """Return the reference of a raw object."""
    return Ref(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFact:
    """What the operator knows of the token Secret; never its values."""

    name: str
    exists: bool
    keys: frozenset[str] = frozenset()
    resource_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOffer:
    """A node as a scheduler sees it, with all that it has for pods and nothing of what is taken."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    taints: tuple[Mapping[str, str], ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def product(self) -> str | None:
        """The product of its GPUs, where GPU feature discovery runs."""
        return self.labels.get(LABEL_GPU_PRODUCT)

    @property
    def cordoned(self) -> bool:
        """Whether somebody has closed it for new pods."""
        return any(taint.get("key") == TAINT_CORDONED for taint in self.taints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the server of a pod has done since it started: seconds with a request in it, tokens generated."""

    busy_seconds: float
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One LlamaDeployment and everything about it, read live in one pass.

    `children` holds each object with the LlamaDeployment's label or with a name that the plan would use, owned by it or
    not; `pods` its pods, and `workers` those of them that only compute for another, once they are told apart
    (`plan.groups`); `gateways` those in front of them, where they read API keys; `downloads` those that fill shared
    caches of its namespace; `replica_sets` those of its Deployment, while a pod is not ready; `startup` the parsed
    `/startupz` report of each pod that answered, by pod name; `events` the newest Warning events of its pods and
    children, and those of images that were pulled for pods that are not ready; `routed` is False while a pod is ready
    and the Service is seen to lead to none, which is looked at until it is available; `kinds` are the kinds of other
    projects that the cluster knows; `usage` what pods have done, by name, read only when it is to be counted;
    `key_secrets` the Secrets with API keys, None where the spec selects none; `settled` are children that are as their
    last apply left them, though admission made something else of them than was wanted;
    `package_secrets` what is known of those that a package declares.
    """

    key: Key
    body: Object
    now: datetime
    children: Mapping[Ref, Object] = field(default_factory=dict[Ref, Object])
    pods: tuple[Object, ...] = ()
    workers: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    startup: Mapping[str, Object] = field(default_factory=dict[str, Object])
    routed: bool = True
    gateways: tuple[Object, ...] = ()
    downloads: tuple[Object, ...] = ()
    secret: SecretFact | None = None
    key_secrets: tuple[Object, ...] | None = field(default=None, repr=False)
    package_secrets: tuple[SecretFact, ...] = ()
    nodes: tuple[NodeOffer, ...] = ()
    events: tuple[Object, ...] = ()
    kinds: frozenset[str] = frozenset()
    usage: Mapping[str, Usage] = field(default_factory=dict[str, Usage])
    settled: frozenset[Ref] = frozenset()

    @property
    def uid(self) -> str:
        """The UID of the LlamaDeployment."""
        return str(self.body["metadata"]["uid"])


Check = Literal["Secret", "Model", "Architecture", "Memory", "Node", "Quota", "Scheduling", "Storage", "ImagePull"]
CheckState = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check of preflight found; `reason` is one of `status.reason.Reason` where it failed, else empty.

    `unknown` is said where a fact could not be had: it stands in the way of nothing. What passed may still warn of
    something to come, which the condition then says too.
    """

    check: Check
    state: CheckState
    message: str
    reason: str = ""
    warns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightResult:
    """What preflight found, right before pods or a volume would be created.

    `reason` is one of `status.reason.Reason`, `message` the sentence for the condition. Where it has not `passed`,
    nothing is claimed, unless it is not `enforced`. `commit`, `licence` and `model_bytes` are what the Hub said;
    None where it was not asked or did not say. `partial` findings are of a changed token alone; the others hold.
    """

    passed: bool = True
    reason: str = "ChecksPassed"
    message: str = "what runs is left alone, and nothing new is to be claimed"
    enforced: bool = True
    findings: tuple[Finding, ...] = ()
    partial: bool = False
    commit: str | None = None
    licence: str | None = None
    model_bytes: int | None = None

    @property
    def holds(self) -> bool:
        """Whether nothing may be claimed for now."""
        return self.enforced and not self.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now.

    `apply` are whole desired objects for server-side apply, in order; only those that differ from the live ones.
    `desired` are all of them. `prune` are owned objects that are no longer wanted. `foreign` are names that
    somebody else's object holds: never touched, reported. `missing` are objects of kinds that the cluster does not
    know. `touch` are pods to annotate with a Secret's version so that the kubelet refreshes their volumes: the
    annotations, by pod. `release` are shared objects to let go of, `cache` is the PVC that the model is kept in,
    or the environment of a package, `filler` the Job that fills it before there are pods,
    `waits` tells that a shared one is yet to be filled, so that no pod is created. `claims` tells whether pods or a
    volume would be created that are not there: what preflight is for; they are in `apply` unless it holds them.
    `rollout` are the rollouts as they are once the plan is carried out. `changed` names the fields that admission
    has changed in objects that are left so. `ignored_keys` are names of API keys that
    cannot be used, each with the reason.
    """

    desired: tuple[Object, ...] = ()
    apply: tuple[Object, ...] = ()
    prune: tuple[Ref, ...] = ()
    foreign: tuple[Ref, ...] = ()
    missing: tuple[Ref, ...] = ()
    touch: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    release: tuple[Ref, ...] = ()
    cache: str | None = None
    filler: str | None = None
    waits: bool = False
    claims: bool = False
    rollout: Rollout = field(default_factory=Rollout)
    changed: tuple[str, ...] = ()
    ignored_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a plan: objects applied and pruned, and what the API server refused, with its reason.

    `admitted` is the digest of each object that admission made something else of than was wanted (`plan.diff.content`).
    """

    applied: tuple[Ref, ...] = ()
    pruned: tuple[Ref, ...] = ()
    refused: Mapping[Ref, str] = field(default_factory=dict[Ref, str])
    admitted: Mapping[Ref, str] = field(default_factory=dict[Ref, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A Kubernetes event to record on the LlamaDeployment."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The status to write (a whole `status` object), the events its transitions call for, when to look again."""

    status: Object
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
