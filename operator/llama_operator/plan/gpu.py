"""GPUs of a pod: the resource to ask for, the nodes that have the product, the taint to tolerate.

The affinity never depends on the nodes that there are: a node that comes later would change the pod template, and
with it restart every pod.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from llama_operator.errors import SpecError
from llama_operator.names import LABEL_GPU_PRODUCT
from llama_operator.plan.observed import Json
from llama_operator.spec.model import ANY_PRODUCT, Gpu

PRODUCTS: Final[Mapping[str, tuple[str, ...]]] = {
    "A10": ("A10", "NVIDIA-A10"),
    "A10G": ("A10G", "NVIDIA-A10G"),
    "A100": (
        "A100",
        "NVIDIA-A100-SXM4-40GB",
        "NVIDIA-A100-SXM4-80GB",
        "NVIDIA-A100-PCIE-40GB",
        "NVIDIA-A100-PCIE-80GB",
        "NVIDIA-A100-80GB-PCIe",
        "NVIDIA-A100-SXM-64GB",
        "A100-SXM4-40GB",
        "A100-SXM4-80GB",
        "A100-PCIE-40GB",
    ),
    "A30": ("A30", "NVIDIA-A30"),
    "A40": ("A40", "NVIDIA-A40"),
    "B200": ("B200", "NVIDIA-B200"),
    "GB200": ("GB200", "NVIDIA-GB200"),
    "GH200": ("GH200", "NVIDIA-GH200-480GB", "NVIDIA-GH200-96GB-HBM3", "NVIDIA-GH200-144G-HBM3e"),
    "H100": (
        "H100",
        "NVIDIA-H100-80GB-HBM3",
        "NVIDIA-H100-PCIe",
        "NVIDIA-H100-NVL",
        "NVIDIA-H100-SXM5-80GB",
        "NVIDIA-H100-64GB-HBM2",
    ),
    "H200": ("H200", "NVIDIA-H200", "NVIDIA-H200-NVL"),
    "L4": ("L4", "NVIDIA-L4"),
    "L40": ("L40", "NVIDIA-L40"),
    "L40S": ("L40S", "NVIDIA-L40S"),
    "RTX-A6000": ("RTX-A6000", "NVIDIA-RTX-A6000"),
    "T4": ("T4", "Tesla-T4", "NVIDIA-Tesla-T4", "NVIDIA-T4"),
    "V100": (
        "V100",
        "Tesla-V100-SXM2-16GB",
        "Tesla-V100-SXM2-32GB",
        "Tesla-V100-SXM3-32GB",
        "Tesla-V100-PCIE-16GB",
        "Tesla-V100-PCIE-32GB",
        "NVIDIA-V100",
    ),
}
"""Product name → values of the label that NVIDIA's GPU feature discovery writes for it.

A new value in a row changes the pod template of every deployment on that product: worth it only with other changes.
"""

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


def label_values(product: str) -> tuple[str, ...]:
    """Return the label values that stand for a product; an unknown one stands for itself."""
    return PRODUCTS.get(product.upper(), (product,))


def resources(gpu: Gpu) -> dict[str, str]:
    """Return the extended resource of one pod; requests and limits of GPUs are always equal."""
    return {gpu.resource_name: str(gpu.count)} if gpu.count else {}


def tolerations(gpu: Gpu) -> list[dict[str, str]]:
    """Return the toleration of the taint that GPU nodes commonly carry."""
    return [{"key": gpu.resource_name, "operator": "Exists", "effect": "NoSchedule"}] if gpu.count else []


def affinity(gpu: Gpu, users: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's affinity and the one for the product, so that both hold.

    Terms of a node selector are alternatives: both hold when each of the user's is combined with each of ours.

    Raises:
        SpecError: if the user's has another form than Kubernetes' own.
    """
    ours = _terms(gpu)
    if not ours:
        return dict(users)
    path = "spec.scheduling.affinity.nodeAffinity"
    node = _object(users.get("nodeAffinity"), path)
    required = _object(node.get(_REQUIRED), f"{path}.{_REQUIRED}")
    terms = f"{path}.{_REQUIRED}.nodeSelectorTerms"
    theirs = _list(required.get("nodeSelectorTerms"), terms) or [{}]
    both = [_both(_object(their, terms), our, terms) for their in theirs for our in ours]
    return {**users, "nodeAffinity": {**node, _REQUIRED: {**required, "nodeSelectorTerms": both}}}


def _object(value: Json, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping | None):
        raise SpecError(path, "it must be an object")
    return cast("Mapping[str, Any]", value or {})


def _list(value: Json, path: str) -> Sequence[Json]:
    if not isinstance(value, list | None):
        raise SpecError(path, "it must be a list")
    return cast("list[Json]", value or [])


def _terms(gpu: Gpu) -> list[dict[str, Any]]:
    if not gpu.count or gpu.product == ANY_PRODUCT:
        return []
    known = {"key": LABEL_GPU_PRODUCT, "operator": "In", "values": list(label_values(gpu.product))}
    unlabelled = {"key": LABEL_GPU_PRODUCT, "operator": "DoesNotExist"}
    return [{"matchExpressions": [known]}, {"matchExpressions": [unlabelled]}]


def _both(their: Mapping[str, Any], our: Mapping[str, Any], path: str) -> dict[str, Any]:
    expressions = _list(their.get("matchExpressions"), f"{path}.matchExpressions")
    return {**their, "matchExpressions": [*expressions, *our["matchExpressions"]]}
