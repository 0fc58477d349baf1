"""GPUs: which nodes, which taint, and what happens without any."""

from typing import Any

import pytest

from llama_operator.errors import SpecError
from tests.support.operator_objects import pod_spec

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
UNLABELLED = {"key": "nvidia.com/gpu.product", "operator": "DoesNotExist"}


def terms(**spec: Any) -> list[dict[str, Any]]:
    """The alternatives of the required node affinity."""
    required = pod_spec(**spec)["affinity"]["nodeAffinity"][REQUIRED]
    return required["nodeSelectorTerms"]


def test_the_product_or_no_label_at_all() -> None:
    """A node qualifies by a known label value of the product, or by not having the label."""
    known, unlabelled = terms()
    assert "NVIDIA-A100-SXM4-80GB" in known["matchExpressions"][0]["values"]
    assert unlabelled["matchExpressions"] == [UNLABELLED]


def test_an_unknown_product_is_the_exact_label_value() -> None:
    """Whoever knows the label of their nodes can name it."""
    known, _ = terms(resources={"gpu": {"product": "NVIDIA-Z900"}})
    assert known["matchExpressions"][0]["values"] == ["NVIDIA-Z900"]


def test_the_users_affinity_holds_as_well() -> None:
    """Each alternative of the user's is combined with each of ours; the rest of the affinity stays."""
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    affinity = {
        "podAntiAffinity": {"x": 1},
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [zone]}, field]
            }
        },
    }
    found = terms(scheduling={"affinity": affinity})
    assert len(found) == 4
    assert [term["matchExpressions"][0] for term in found[:2]] == [zone, zone]
    assert all(term["matchFields"] == field["matchFields"] for term in found[2:])
    assert pod_spec(scheduling={"affinity": affinity})["affinity"]["podAntiAffinity"] == {"x": 1}


def test_any_product_needs_no_affinity() -> None:
    """The GPUs are asked for all the same."""
    pod = pod_spec(resources={"gpu": {"product": "any"}})
    assert "affinity" not in pod
    assert pod["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def test_without_gpus_nothing_speaks_of_them() -> None:
    """Count 0 runs on any node: no resource, no affinity, no toleration."""
    pod = pod_spec(resources={"gpu": {"count": 0}})
    assert not {"affinity", "tolerations"} & set(pod)
    assert pod["containers"][0]["resources"]["limits"] == {}


def test_another_vendors_taint_is_tolerated() -> None:
    """The taint has the resource's name."""
    pod = pod_spec(resources={"gpu": {"resourceName": "amd.com/gpu", "product": "any"}})
    assert pod["tolerations"] == [{"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


@pytest.mark.parametrize(
    ("node", "path"),
    [
        ("none", "nodeAffinity"),
        ({REQUIRED: ["none"]}, f"nodeAffinity.{REQUIRED}"),
        ({REQUIRED: {"nodeSelectorTerms": {"a": 1}}}, f"nodeAffinity.{REQUIRED}.nodeSelectorTerms"),
        ({REQUIRED: {"nodeSelectorTerms": [5]}}, f"nodeAffinity.{REQUIRED}.nodeSelectorTerms"),
        (
            {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": 5}]}},
            f"nodeAffinity.{REQUIRED}.nodeSelectorTerms.matchExpressions",
        ),
    ],
)
def test_an_affinity_of_another_form_is_refused_by_its_path(node: Any, path: str) -> None:
    """The CRD leaves affinities open; what cannot be combined is the spec's fault and says so."""
    with pytest.raises(SpecError, match="it must be") as refused:
        pod_spec(scheduling={"affinity": {"nodeAffinity": node}})
    assert refused.value.field == f"spec.scheduling.affinity.{path}"
