"""Settings: one frozen class per process; name, default, unit and effect in one place."""

import json
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, StringConstraints
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX: Final = "LLAMA_OPERATOR_"


def _list(written: object) -> object:
    """Read a JSON list; pydantic-settings' own reading would fail without naming the variable."""
    if not isinstance(written, str):
        return written
    try:
        found = json.loads(written)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ValueError('write a JSON list, such as ["team-a", "team-b"]')  # noqa: TRY004  (pydantic's kind)
    return tuple(cast("list[Any]", found))


def _object(written: object) -> object:
    """Read a JSON object of texts, likewise."""
    if not isinstance(written, str):
        return written
    try:
        found = json.loads(written)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError('write a JSON object, such as {"3.11": "python:3.11-slim"}')  # noqa: TRY004
    return cast("dict[str, Any]", found)


Namespace = Annotated[str, StringConstraints(pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class Settings(BaseSettings):
    """The operator's settings, from `LLAMA_OPERATOR_*` variables; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    inference_image: str = Field(
        default="llama-operator/llama-inference:0.1.0",
        description="Image of the pods of a LlamaDeployment that names none.",
    )
    gateway_image: str = Field(
        default="llama-operator/llama-operator:0.1.0",
        description="Image of the gateways of models that may sleep: the operator's own.",
    )
    gateway_enabled: bool = Field(
        default=True,
        description="Whether models may sleep. If not, the operator neither reads nor writes Roles, RoleBindings and "
        "Leases of gateways.",
    )
    package_builder_image: str = Field(
        default="llama-operator/package-builder:0.1.0", description="Image that makes environments of packages."
    )
    package_images: Annotated[dict[str, str], NoDecode, BeforeValidator(_object)] = Field(
        default={f"3.{minor}": f"python:3.{minor}-slim" for minor in range(9, 15)},
        description="JSON object, Python version → image that packages of that Python run in.",
    )
    package_index_url: str | None = Field(
        default=None, description="Package index for a package that names none; unset: PyPI."
    )
    package_wheelhouse_claim: str | None = Field(
        default=None,
        description="PersistentVolumeClaim with wheels for environments, in the namespace of each LlamaDeployment with "
        "a package; without an index beside it none is asked.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When kubelets pull the images of pods."
    )
    hub_endpoint: str | None = Field(
        default=None, description="Hub mirror for a LlamaDeployment that names none; unset: the public Hub."
    )
    nodes_on_demand: bool = Field(
        default=False,
        description="Nodes are added when pods wait for them (cluster autoscaler, Karpenter): that there is none yet "
        "that would do is told, and holds nothing up.",
    )
    stall_seconds: PositiveFloat = Field(
        default=120.0, description="A download that brings no byte for so long counts as stalled, and is told as such."
    )
    recheck_seconds: PositiveFloat = Field(
        default=3.0,
        description="How soon preflight looks again at what it holds up, up to five times as long after a while; a "
        "watch tells of most of it earlier.",
    )
    watch_namespaces: Annotated[tuple[Namespace, ...], NoDecode, BeforeValidator(_list)] = Field(
        default=(), description="JSON list of namespaces to serve; empty: all of them."
    )
    workers: PositiveInt = Field(default=4, description="LlamaDeployments that are worked on at the same time.")
    reconcile_deadline_seconds: PositiveFloat = Field(
        default=120.0,
        description="How long one look at a LlamaDeployment may take before it is given up and tried again.",
    )
    resync_seconds: PositiveFloat = Field(
        default=300.0, description="How often every LlamaDeployment is looked at, whatever events came."
    )
    backoff_min_seconds: PositiveFloat = Field(
        default=1.0, description="Wait after a first failure; doubles with each."
    )
    backoff_max_seconds: PositiveFloat = Field(default=60.0, description="Longest wait after failures.")
    lease_name: str = Field(default="llama-operator", description="Name of the Lease that the leader holds.")
    lease_namespace: str = Field(default="default", description="Namespace of that Lease: the operator's own.")
    lease_duration_seconds: PositiveInt = Field(
        default=15, ge=3, description="How long after a leader's last sign of life another one takes over."
    )
    pod_name: str | None = Field(
        default=None,
        description="Name of the pod that this process runs in, so that the next leader need not wait for one that is "
        "gone; unset outside a cluster.",
    )
    health_port: int = Field(
        default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics; 0: any."
    )
    stop_seconds: PositiveFloat = Field(
        default=10.0, description="How long work in flight may take to end after SIGTERM."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged."
    )
    log_format: Literal["json", "text"] = Field(default="json", description="Form of the log's lines.")
