"""How much memory a GPU has: the spec's word, the node's labels, the product's table, in this order."""

import pytest

from llama_operator.plan.gpu import PRODUCTS
from llama_operator.preflight.finding import GIB
from llama_operator.preflight.products import LABEL_GPU_MEMORY, GpuMemory, per_gpu
from tests.support.survey_objects import A100_40GB, A100_80GB, a_node


def test_the_spec_overrules_every_label() -> None:
    """For GPUs that are shared or sliced, or that nobody knows."""
    assert per_gpu("10Gi", "A100", [a_node()]) == GpuMemory(bytes=10 * GIB, whose="spec.resources.gpu.memory")


def test_the_memory_label_of_a_node_counts_before_its_product() -> None:
    """It is what the driver said."""
    found = per_gpu(None, "A100", [a_node(labels={LABEL_GPU_MEMORY: "40536"})])
    assert found == GpuMemory(bytes=40536 * 2**20, whose="node node-1")


@pytest.mark.parametrize("label", ["", "80GiB", "-1", "0"])
def test_a_memory_label_that_is_none_is_passed_over(label: str) -> None:
    """Labels can be written by hand."""
    found = per_gpu(None, "A100", [a_node(labels={LABEL_GPU_MEMORY: label})])
    assert found is not None
    assert found.bytes == 80 * GIB


@pytest.mark.parametrize(
    ("label", "gib"),
    [(A100_80GB, 80), (A100_40GB, 40), ("Tesla-V100-PCIE-16GB", 16), ("NVIDIA-H100-NVL", 93), ("Tesla-T4", 15)],
)
def test_the_product_label_tells_the_size(label: str, gib: int) -> None:
    """One product comes in several."""
    found = per_gpu(None, "any", [a_node(product=label)])
    assert found is not None
    assert found.bytes == gib * GIB


def test_of_several_suitable_nodes_the_smallest_counts_and_a_larger_is_named() -> None:
    """The scheduler does not know of GPU memory."""
    nodes = [a_node("large"), a_node("small", product=A100_40GB), a_node("unknown", product="Homemade-1")]
    assert per_gpu(None, "A100", nodes) == GpuMemory(bytes=40 * GIB, whose="node small", larger=A100_80GB)


@pytest.mark.parametrize(("product", "gib"), [("A100", 80), ("a100", 80), (A100_40GB, 40), ("L4", 22)])
def test_without_a_node_the_product_of_the_spec_counts(product: str, gib: int) -> None:
    """The largest of its sizes: a node that has it may come."""
    assert per_gpu(None, product, []) == GpuMemory(bytes=gib * GIB, whose=f"product {product}")


@pytest.mark.parametrize("product", ["any", "Homemade-1"])
def test_a_product_that_nobody_knows_has_no_size(product: str) -> None:
    """Nothing is made up."""
    assert per_gpu(None, product, [a_node(product=None)]) is None


def test_every_product_that_a_spec_may_name_has_a_size() -> None:
    """A new row in one table needs one in the other."""
    assert [product for product in PRODUCTS if per_gpu(None, product, []) is None] == []
    assert [label for labels in PRODUCTS.values() for label in labels if per_gpu(None, label, []) is None] == []


def test_a_label_that_states_its_size_agrees_with_the_table() -> None:
    """`...-40GB` has no more than 40 GiB, and little less."""
    for labels in PRODUCTS.values():
        for label in labels:
            stated = [int(part.removesuffix("GB")) for part in label.split("-") if part.removesuffix("GB").isdigit()]
            found = per_gpu(None, label, [])
            if stated and found is not None and "480GB" not in label:  # a GH200's other memory
                assert 0.95 * stated[0] <= found.bytes / GIB <= stated[0], label
