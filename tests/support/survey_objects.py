"""Small builders of what preflight is told: models as the Hub describes them, nodes, quotas, pods."""

from collections.abc import Mapping
from typing import Any, Final

from llama_operator import names
from llama_operator.plan.observed import NodeOffer
from llama_operator.plan.survey import ModelFact, ModelShape, Survey
from llama_operator.preflight.pod import Pod, read

COMMIT: Final = "e9149a12809580e8602995856f8098ce973d1080"
LLAMA_70B: Final = ModelFact(
    commit=COMMIT,
    gated=True,
    licence="llama2",
    parameters={"F16": 68_976_648_192},
    weight_bytes=137_953_316_864,
    total_bytes=137_955_000_000,
    shape=ModelShape(
        model_type="llama",
        architectures=("LlamaForCausalLM",),
        layers=80,
        kv_heads=8,
        head_dim=128,
        context=4096,
        dtype="float16",
    ),
)
A100_80GB: Final = "NVIDIA-A100-SXM4-80GB"
A100_40GB: Final = "NVIDIA-A100-SXM4-40GB"


def a_node(
    name: str = "node-1",
    *,
    gpus: int = 8,
    product: str | None = A100_80GB,
    cpu: str = "64",
    memory: str = "512Gi",
    labels: Mapping[str, str] | None = None,
    taints: tuple[Mapping[str, str], ...] = (),
) -> NodeOffer:
    """A node of a GPU cluster."""
    known = {names.LABEL_GPU_PRODUCT: product} if product else {}
    return NodeOffer(
        name=name,
        labels={"kubernetes.io/hostname": name, **known, **(labels or {})},
        taints=taints,
        allocatable={"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": str(gpus)} if gpus else {})},
    )


def a_container(name: str = "inference", *, limits: Mapping[str, str] | None = None, **requests: str) -> dict[str, Any]:
    """A container; keyword arguments are its requests."""
    return {"name": name, "resources": {"requests": requests, "limits": dict(limits or {})}}


def a_pod(*, gpus: int = 2, limits: Mapping[str, str] | None = None, **spec: Any) -> Pod:
    """A replica that asks for GPUs, half a CPU and 2 GiB; keyword arguments are of its pod spec."""
    wants = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    usual = a_container(limits={**wants, **(limits or {})}, cpu="500m", memory="2Gi", **wants)
    return read({"containers": [usual], **spec})


def a_quota(hard: Mapping[str, str], name: str = "team", **spec: Any) -> dict[str, Any]:
    """A ResourceQuota."""
    return {"metadata": {"name": name}, "spec": {"hard": dict(hard), **spec}}


def a_limit_range(kind: str = "Container", **bounds: Mapping[str, str]) -> dict[str, Any]:
    """A LimitRange with one row; keyword arguments are max, min, default and defaultRequest."""
    return {"metadata": {"name": "bounds"}, "spec": {"limits": [{"type": kind, **bounds}]}}


SURVEY: Final = Survey(
    model=LLAMA_70B, nodes=(a_node(),), quotas=(), limit_ranges=(), storage_classes={"standard": True}
)
"""A cluster and a Hub on which the seed's case passes every check."""

PROVISIONS: Final[tuple[dict[str, Any], ...]] = (
    {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1", "labels": {names.LABEL_GPU_PRODUCT: A100_80GB}},
        "status": {"allocatable": {"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": "8"}},
    },
    {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    },
)
"""The same cluster as objects."""
