"""How much memory one GPU has: as the spec says, as a node's labels say, or by its product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from llama_operator.plan.gpu import PRODUCTS
from llama_operator.plan.observed import NodeOffer
from llama_operator.plan.quantity import amount
from llama_operator.preflight.finding import GIB

LABEL_GPU_MEMORY: Final = "nvidia.com/gpu.memory"
"""Set on nodes by NVIDIA's GPU feature discovery: MiB of one GPU."""

_OF_PRODUCT: Final[Mapping[str, int]] = {
    "A10": 22,
    "A10G": 22,
    "A100": 80,
    "A30": 24,
    "A40": 44,
    "B200": 179,
    "GB200": 185,
    "GH200": 95,
    "H100": 79,
    "H200": 140,
    "L4": 22,
    "L40": 44,
    "L40S": 44,
    "RTX-A6000": 47,
    "T4": 15,
    "V100": 32,
}
"""GiB that the driver reports for one GPU, rounded down; of products in several sizes the largest common one."""

_OF_LABEL: Final[Mapping[str, int]] = {
    "NVIDIA-A100-SXM4-40GB": 40,
    "NVIDIA-A100-PCIE-40GB": 40,
    "A100-SXM4-40GB": 40,
    "A100-PCIE-40GB": 40,
    "NVIDIA-A100-SXM-64GB": 63,
    "NVIDIA-GH200-144G-HBM3e": 140,
    "NVIDIA-H100-NVL": 93,
    "NVIDIA-H100-64GB-HBM2": 63,
    "Tesla-V100-SXM2-16GB": 16,
    "Tesla-V100-PCIE-16GB": 16,
}
"""The same for values of the product label that name another size."""

_PRODUCT_OF_LABEL: Final = {label: product for product, labels in PRODUCTS.items() for label in labels}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """The bytes of one GPU, and whose they are; `larger` is the product label of a suitable node with larger ones."""

    bytes: int
    whose: str
    larger: str | None = None


def per_gpu(written: str | None, product: str, nodes: Sequence[NodeOffer]) -> GpuMemory | None:
    """Return the memory that a replica can count on for each of its GPUs; None if nobody says.

    Args:
        written: `spec.resources.gpu.memory`, which overrules everything.
        product: `spec.resources.gpu.product`.
        nodes: those that a pod could be put on. The scheduler does not know of GPU memory, so the smallest counts.
    """
    if written is not None:
        return GpuMemory(bytes=int(amount(written)), whose="spec.resources.gpu.memory")
    known = [(found, node) for node in nodes if (found := _of_node(node)) is not None]
    if known:
        smallest, node = min(known, key=lambda row: (row[0], row[1].name))
        largest, other = max(known, key=lambda row: (row[0], row[1].name))
        larger = other.product if largest > smallest else None
        return GpuMemory(bytes=smallest, whose=f"node {node.name}", larger=larger)
    size = _of_label(product)
    return None if size is None else GpuMemory(bytes=size, whose=f"product {product}")


def _of_node(node: NodeOffer) -> int | None:
    label = node.labels.get(LABEL_GPU_MEMORY, "")
    if label.isdecimal() and int(label):
        return int(label) * 2**20
    return _of_label(node.product or "")


def _of_label(value: str) -> int | None:
    """Return the bytes of a label's value, or of a product's name."""
    name = value.upper() if value.upper() in PRODUCTS else _PRODUCT_OF_LABEL.get(value, "")
    size = _OF_LABEL.get(value) or _OF_PRODUCT.get(name)
    return None if size is None else size * GIB
