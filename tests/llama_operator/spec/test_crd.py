"""The CRD is what the API server calls structural, and says everything that the types say."""

from collections.abc import Iterator
from typing import Any

import pytest

from llama_operator.spec import reference
from llama_operator.spec.crd import crd
from llama_operator.spec.pod_template import TOKEN_VARIABLES

VERSION: dict[str, Any] = crd()["spec"]["versions"][0]
SPEC: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]["properties"]["spec"]


def nodes(schema: Any, path: str = "spec") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each node of a schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if isinstance(schema.get(below), dict):
            yield from nodes(schema[below], f"{path}[]")


def at(path: str) -> dict[str, Any]:
    """The node of a field."""
    return dict(nodes(SPEC))[path]


def test_no_node_has_what_a_structural_schema_must_not_have() -> None:
    """No references, nulls, constants or unions other than integer-or-string; one type in each node."""
    for path, node in nodes(SPEC):
        assert not {"$ref", "$defs", "const", "title", "oneOf", "allOf"} & set(node), path
        assert ("anyOf" in node) == ("x-kubernetes-int-or-string" in node), path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        assert not ("properties" in node and "additionalProperties" in node), path


def test_every_field_is_described() -> None:
    """`kubectl explain` has a sentence for each field."""
    fields = [(path, node) for path, node in nodes(SPEC) if not path.endswith("[]")]
    assert [path for path, node in fields if not node.get("description")] == []


def test_every_string_and_list_is_bounded() -> None:
    """The API server refuses rules whose cost it cannot bound."""
    for path, node in nodes(SPEC):
        if "x-kubernetes-validations" in node and node.get("type") == "string":
            assert "maxLength" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("spec.replicas", 1),
        ("spec.resources.gpu", {"count": 2, "nodes": 1, "product": "A100", "resourceName": "nvidia.com/gpu"}),
        ("spec.rollout.strategy", "RollingUpdate"),
        ("spec.cache", {"accessMode": "ReadWriteOnce", "shared": False, "retain": False}),
    ],
)
def test_defaults_show_in_the_stored_object(path: str, default: Any) -> None:
    """Objects carry the defaults of their fields whole: rules are checked on them as they stand."""
    assert at(path)["default"] == default
    assert at("spec.resources")["default"]["gpu"] == at("spec.resources.gpu")["default"]


def test_what_has_no_default_has_none_in_the_schema() -> None:
    """An unnamed token Secret, cache size or parameter stays absent."""
    for path in ("spec.model", "spec.model.tokenSecretRef", "spec.cache.size", "spec.generation", "spec.podTemplate"):
        assert "default" not in at(path)


def test_exclusive_bounds_are_flags() -> None:
    """OpenAPI 3.0 writes `top_p > 0` as a bound and a flag."""
    top_p = at("spec.generation.defaults.top_p")
    assert (top_p["minimum"], top_p["exclusiveMinimum"], top_p["maximum"]) == (0, True, 1)


def test_the_resource_scales_and_lists_well() -> None:
    """`kubectl scale` and `kubectl get` find their fields."""
    assert VERSION["subresources"]["scale"]["labelSelectorPath"] == ".status.selector"
    columns = [column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]
    assert columns == ["Model", "Engine", "Ready", "Phase", "ETA", "Age"]


@pytest.mark.parametrize("containers", ["containers", "initContainers"])
def test_a_token_cannot_be_given_as_a_variable(containers: str) -> None:
    """`kubectl describe` would show it, whichever container has it: TGI's is an init container."""
    rules = str(at(f"spec.podTemplate.spec.{containers}[].env[]")["x-kubernetes-validations"])
    assert all(name in rules for name in TOKEN_VARIABLES)
    assert ("LLAMA_INFERENCE_MODEL" in rules) == (containers == "containers")


def test_a_status_is_absent_until_the_operator_writes_one() -> None:
    """A default would look as if an operator ran."""
    status = VERSION["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert "default" not in status
    assert not any("default" in field for field in status["properties"].values())


def test_the_reference_lists_each_field_once() -> None:
    """docs/llamadeployment.md has a row for each field, with its default."""
    page = reference.markdown()
    assert "| `spec.resources.gpu.count` | integer, 0 to 1024 | `2` |" in page
    assert page.count("`spec.cache.size`") == 1
