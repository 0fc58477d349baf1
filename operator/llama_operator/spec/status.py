"""The LlamaDeployment's status as types: what `kubectl get` and `kubectl describe` show."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A point in time, RFC 3339, UTC, whole seconds."""

Phase = Literal["Pending", "Downloading", "Loading", "Ready", "Progressing", "Degraded", "Failed", "Asleep", "Stopped"]
ConditionType = Literal[
    "Accepted",
    "PreflightPassed",
    "ModelCached",
    "PodsScheduled",
    "ModelLoaded",
    "Available",
    "Progressing",
    "Degraded",
]
Truth = Literal["True", "False", "Unknown"]
RolloutOutcome = Literal["Progressing", "Succeeded", "RolledBack", "Superseded"]
CheckState = Literal["passed", "failed", "unknown"]
StageState = Literal["pending", "running", "done", "failed"]

LIST_MAP: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map"}


class StatusPart(BaseModel):
    """Base of every part of the status; what a newer operator wrote is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Condition(StatusPart):
    """One question about the deployment, its answer, the reason, and what to do."""

    type: ConditionType = Field(description="The question.")
    status: Truth = Field(description="The answer.")
    reason: str = Field(description="Why, in one word; docs/conditions.md lists them all.")
    message: str = Field(description="What is wrong and what to do, in one sentence.")
    observed_generation: int = Field(default=0, description="The generation of the spec that this is about.")
    last_transition_time: Time = Field(description="When the answer last changed.")


class Stage(StatusPart):
    """One stage of the way from an accepted spec to an answering server."""

    name: str = Field(
        description="Preflight, Environment (of a package), Scheduling, ImagePull, Start, Resolve, Download, Load, "
        "WarmUp, Golden or Ready."
    )
    state: StageState = Field(description="Where the stage stands.")
    started: Time | None = Field(default=None, description="When it began.")
    seconds: float | None = Field(default=None, description="How long it took, once done.")
    bytes_done: int | None = Field(default=None, description="Bytes that are there.")
    bytes_total: int | None = Field(default=None, description="Bytes in all.")
    bytes_per_second: int | None = Field(default=None, description="Rate of the last moments.")
    eta_seconds: int | None = Field(default=None, description="Estimated time left.")


class Startup(StatusPart):
    """How far the least advanced pod has come; once all are ready, how long the last one took."""

    pod_name: str | None = Field(default=None, description="The pod; none before there is one.")
    stage: str | None = Field(default=None, description="The stage under way; none once ready.")
    eta: str | None = Field(default=None, description="Estimated time left in that stage, such as 21m.")
    seconds: float | None = Field(default=None, description="From the pod's creation to its first readiness.")
    stages: tuple[Stage, ...] = Field(
        default=(),
        description="The stages in order.",
        json_schema_extra={**LIST_MAP, "x-kubernetes-list-map-keys": ["name"]},
    )


class ModelRevision(StatusPart):
    """What was asked of the Hub and which commit it is."""

    repo: str = Field(description="Repository.")
    requested: str = Field(description="Branch, tag or commit of the spec.")
    commit: str | None = Field(default=None, description="The commit it resolved to; pods load this one.")
    licence: str | None = Field(default=None, description="The licence that the model's page states.")


class PreflightCheck(StatusPart):
    """What one check found before anything was claimed."""

    name: str = Field(description="Secret, Model, Architecture, Memory, Node, Quota, Scheduling, Storage or ImagePull.")
    state: CheckState = Field(description="unknown: a fact could not be had; it holds nothing up.")
    message: str = Field(description="What was found, with the numbers; where it failed, what to do.")


class PreflightStatus(StatusPart):
    """What the last checks found; while nothing new is to be claimed, only a changed token is checked."""

    checks: tuple[PreflightCheck, ...] = Field(
        default=(),
        description="The checks, in the order in which to mend them.",
        json_schema_extra={**LIST_MAP, "x-kubernetes-list-map-keys": ["name"]},
    )
    token_version: str | None = Field(
        default=None, description="Version of the token's Secret that was last found good; another is checked anew."
    )


class FieldChange(StatusPart):
    """One field that a rollout changed."""

    path: str = Field(description="The field, of the spec, or of the status for what the spec left open.")
    old: str | None = Field(default=None, description="Its value before; none if it was not set.")
    new: str | None = Field(default=None, description="Its value since; none if it is not set.")


class RolloutRecord(StatusPart):
    """One rollout: what was to run, what it changed, what became of it."""

    revision: int = Field(description="Its number, for spec.rollout.rollbackTo.")
    outcome: RolloutOutcome = Field(
        description="Succeeded: all pods ran it and were ready. Superseded: another came before it was done."
    )
    template: str = Field(description="Digest of the pod template.")
    started: Time = Field(description="When it began.")
    finished: Time | None = Field(default=None, description="When its outcome was known.")
    reason: str | None = Field(default=None, description="Why it failed, in one word of docs/conditions.md.")
    message: str | None = Field(default=None, description="Why it ended so.")
    changes: tuple[FieldChange, ...] = Field(
        default=(),
        description="What it changed against the last one that had succeeded.",
        json_schema_extra={**LIST_MAP, "x-kubernetes-list-map-keys": ["path"]},
    )


class Holder(StatusPart):
    """A pod that holds GPUs, and what its server had done when it was last asked."""

    name: str = Field(description="The pod.")
    gpus: int = Field(description="GPUs that it holds.")
    busy_seconds: float = Field(default=0.0, description="Seconds with at least one request in it.")
    tokens: float = Field(default=0.0, description="Tokens that it has generated.")


class Cost(StatusPart):
    """GPU-hours, counted once a minute; docs/operating.md says how."""

    as_of: Time = Field(description="Up to when it is counted.")
    gpu_hours_held: float = Field(default=0.0, description="GPU-hours that pods held, starting and stopping included.")
    gpu_hours_busy: float = Field(default=0.0, description="GPU-hours with at least one request.")
    gpu_hours_idle: float = Field(default=0.0, description="GPU-hours held with no request.")
    generated_tokens: int = Field(default=0, description="Tokens generated.")
    spent: float | None = Field(default=None, description="gpuHoursHeld at the price that the spec has now.")
    per_million_tokens: float | None = Field(default=None, description="What a million generated tokens cost so far.")
    holders: tuple[Holder, ...] = Field(
        default=(),
        description="The pods that are counted.",
        json_schema_extra={**LIST_MAP, "x-kubernetes-list-map-keys": ["name"]},
    )


class LlamaDeploymentStatus(StatusPart):
    """What the operator last saw."""

    observed_generation: int = Field(default=0, description="The generation of the spec that this status is about.")
    phase: Phase = Field(default="Pending", description="One word for a table.")
    ready: str = Field(default="0/0", description="Ready replicas of wanted ones, such as 1/2.")
    replicas: int = Field(default=0, description="Pods that there are.")
    ready_replicas: int = Field(default=0, description="Pods that answer.")
    selector: str | None = Field(default=None, description="Label selector of the pods, for autoscalers.")
    url: str | None = Field(default=None, description="Where to POST predict requests, from inside the cluster.")
    engine_image: str | None = Field(default=None, description="Image that the pods run.")
    revision: ModelRevision | None = Field(default=None, description="The model's revision.")
    preflight: PreflightStatus | None = Field(default=None, description="What was checked before anything was claimed.")
    startup: Startup | None = Field(default=None, description="The way from a created pod to an answering server.")
    history: tuple[RolloutRecord, ...] = Field(
        default=(),
        description="The last rollouts, newest first.",
        json_schema_extra={**LIST_MAP, "x-kubernetes-list-map-keys": ["revision"]},
    )
    cost: Cost | None = Field(default=None, description="GPU-hours held and idle; none before the first GPU is held.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="What holds and what does not; start reading at Available.",
        json_schema_extra={**LIST_MAP, "x-kubernetes-list-map-keys": ["type"]},
    )
