"""Could a node ever take a replica? The first demand that none meets is named, with the numbers."""

from dataclasses import replace

import pytest

from llama_operator.plan.observed import NodeOffer
from llama_operator.preflight.finding import Finding
from llama_operator.preflight.nodes import check, suitable
from llama_operator.preflight.pod import Pod
from llama_operator.spec.model import Gpu
from tests.support.survey_objects import A100_40GB, a_container, a_node, a_pod


def found(*nodes: NodeOffer, pod: Pod | None = None, product: str = "A100", gpus: int = 2) -> Finding:
    """What is found for a replica on a cluster of these nodes."""
    return check(pod or a_pod(gpus=gpus), Gpu(count=gpus, product=product), nodes)


def reason_and_message(finding: Finding, reason: str) -> str:
    """The message of a finding that must have failed for this reason."""
    assert (finding.state, finding.reason) == ("failed", reason), finding
    return finding.message


def test_a_node_with_the_gpus_will_do() -> None:
    """Those that could take it are named."""
    finding = found(a_node(), a_node("cpu", gpus=0, product=None))
    assert (finding.state, finding.message) == ("passed", "1 node could take a replica: node-1")


def test_gpus_that_are_in_use_are_no_obstacle() -> None:
    """What is free now is the scheduler's business: the node could take it once others have gone."""
    assert found(a_node(gpus=2)).state == "passed"


def test_no_node_with_gpus_says_how_many_were_looked_at() -> None:
    """And that a CPU would do, if slowly."""
    message = reason_and_message(found(a_node(gpus=0, product=None), a_node("b", gpus=0, product=None)), "NoGpuNode")
    assert message.startswith("none of 2 nodes offers nvidia.com/gpu: add a GPU node or install its device plugin")


def test_another_product_is_told_from_none() -> None:
    """With the products that there are, so that one can be chosen."""
    message = reason_and_message(found(a_node(product="Tesla-T4"), product="H100"), "NoNodeWithProduct")
    assert "no node has GPUs of product H100, the cluster has Tesla-T4" in message


def test_a_node_without_the_label_is_taken_as_it_is() -> None:
    """Not every cluster has GPU feature discovery."""
    assert found(a_node(product=None)).state == "passed"
    assert found(a_node(product="Homemade"), product="any").state == "passed"


def test_more_gpus_than_the_largest_node_has() -> None:
    """Of the right product: eight of another do not help."""
    nodes = (a_node("a", gpus=4), a_node("b", gpus=2), a_node("c", product="Tesla-T4"))
    message = reason_and_message(found(*nodes, gpus=8), "TooManyGpus")
    assert message == (
        "a replica wants 8 nvidia.com/gpu on one node, and the largest node has 4: lower spec.resources.gpu.count to "
        "4, or add a node with 8"
    )


def test_a_selector_that_matches_no_gpu_node_is_shown() -> None:
    """Beside the nodes that would do without it."""
    message = reason_and_message(found(a_node(), pod=a_pod(nodeSelector={"zone": "b"})), "NoMatchingNode")
    assert "spec.scheduling.nodeSelector (zone=b) matches none of 1 node that would do otherwise (node-1)" in message


def test_a_taint_is_shown_as_it_would_be_tolerated() -> None:
    """Key, value and effect."""
    tainted = a_node(taints=({"key": "team", "value": "ml", "effect": "NoSchedule"},))
    assert "has the taint team=ml:NoSchedule: tolerate it in" in reason_and_message(found(tainted), "NodesTainted")
    tolerant = a_pod(tolerations=[{"key": "team", "operator": "Exists"}])
    assert found(tainted, pod=tolerant).state == "passed"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("node.kubernetes.io/unschedulable", "kubectl uncordon node-1"),
        ("node.kubernetes.io/not-ready", "wait until the node has recovered"),
    ],
)
def test_a_taint_of_kubernetes_itself_has_another_fix(key: str, words: str) -> None:
    """Nobody should tolerate those."""
    finding = found(a_node(taints=({"key": key, "effect": "NoSchedule"},)))
    assert words in reason_and_message(finding, "NodesTainted")


def test_a_node_that_is_too_small_is_told_by_how_much() -> None:
    """Of several the one that comes closest."""
    pod = replace(a_pod(), containers=a_pod(containers=[a_container(cpu="96", memory="1Ti")]).containers)
    message = reason_and_message(found(a_node("a"), a_node("b", memory="2Ti"), pod=pod), "NodeTooSmall")
    assert "of b it wants 96 cpu, it has 64" in message
    assert "memory" not in message


def test_a_sidecar_counts_too() -> None:
    """What podTemplate adds is in the same pod."""
    extra = a_container("proxy", cpu="60")
    both = a_pod(containers=[a_container(cpu="8"), extra])
    assert found(a_node(), pod=both).reason == "NodeTooSmall"
    before = a_pod(containers=[a_container(cpu="8")], initContainers=[extra])
    assert found(a_node(), pod=before).state == "passed"
    beside = a_pod(containers=[a_container(cpu="8")], initContainers=[{**extra, "restartPolicy": "Always"}])
    assert found(a_node(), pod=beside).reason == "NodeTooSmall"


def test_the_suitable_nodes_are_those_that_meet_every_demand() -> None:
    """Memory is judged on these alone."""
    nodes = (
        a_node("yes"),
        a_node("small", product=A100_40GB),
        a_node("tainted", taints=({"key": "x", "effect": "NoExecute"},)),
        a_node("few", gpus=1),
        a_node("other", product="Tesla-T4"),
    )
    assert [node.name for node in suitable(a_pod(), Gpu(), nodes)] == ["yes", "small"]


def test_nodes_that_may_not_be_listed_are_not_known() -> None:
    """An operator with fewer rights refuses nothing for want of them."""
    finding = check(a_pod(), Gpu(), None)
    assert (finding.state, finding.reason) == ("unknown", "")


def test_an_empty_cluster_is_no_cluster_without_gpus() -> None:
    """Also for a replica that wants none."""
    assert found(pod=a_pod(gpus=0), gpus=0).reason == "NoMatchingNode"
