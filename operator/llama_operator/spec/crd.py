"""The CustomResourceDefinition, from the types of the spec and the status.

pydantic writes JSON schema with references and unions; the API server wants a structural schema: everything in
place, one type for each node.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from llama_operator import names
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.status import LlamaDeploymentStatus
from llama_operator.spec.values import RULES, Schema, rule

MAX_NAME: Final = 52
"""A ReplicaSet appends 11 characters, and a label or a host name holds 63."""

MAX_NAME_OF_NODES: Final = 40
"""LeaderWorkerSets and their StatefulSets append up to 23."""

_DESCRIPTION: Final = (
    "A Llama model to serve: the operator claims the GPUs, brings the weights, starts the inference server and puts "
    "a predict Service in front."
)
_NAME_FORM: Final = "a name has 1 to 52 characters: lower-case letters, digits and hyphens, a letter first"


def crd() -> dict[str, Any]:
    """Return the whole CustomResourceDefinition manifest."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def _columns() -> list[Schema]:
    rows = (
        ("Model", "string", ".spec.model.repo", 0),
        ("Engine", "string", ".spec.engine.name", 0),
        ("Ready", "string", ".status.ready", 0),
        ("Phase", "string", ".status.phase", 0),
        ("ETA", "string", ".status.startup.eta", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("URL", "string", ".status.url", 1),
        ("Revision", "string", ".status.revision.commit", 1),
        ("GPUs", "integer", ".spec.resources.gpu.count", 1),
    )
    return [
        {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
        for name, kind, path, priority in rows
    ]


def _root() -> Schema:
    named = "self.metadata.name"
    return {
        "type": "object",
        "description": _DESCRIPTION,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": _without_default(structural(LlamaDeploymentSpec)),
            "status": _without_defaults(structural(LlamaDeploymentStatus)),
        },
        RULES: [
            rule(
                f"{named}.size() <= {MAX_NAME} && {named}.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                f"metadata.name does not fit; {_NAME_FORM}",
                shown=f"'metadata.name is \"' + {named} + '\"; {_NAME_FORM}'",
                path=".metadata.name",
            ),
            rule(
                f"self.spec.resources.gpu.nodes == 1 || {named}.size() <= {MAX_NAME_OF_NODES}",
                f"a LlamaDeployment over several nodes has a name of at most {MAX_NAME_OF_NODES} characters",
                path=".metadata.name",
            ),
            rule(
                "self.spec.resources.gpu.nodes == 1 || self.spec.engine.name == 'native'",
                "only the native engine computes over several nodes: set spec.engine.name to native, or "
                "spec.resources.gpu.nodes to 1",
            ),
        ],
    }


def _without_default(schema: Schema) -> Schema:
    """Leave an object that nobody wrote away, so that what it lacks is told."""
    return {key: value for key, value in schema.items() if key != "default"}


def _without_defaults(schema: Schema) -> Schema:
    """Leave a status empty until the operator has written one."""
    fields = {name: {k: v for k, v in field.items() if k != "default"} for name, field in schema["properties"].items()}
    return {**_without_default(schema), "properties": fields}


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model, by its outside names."""
    schema = model.model_json_schema(by_alias=True)
    return _node(schema, cast("dict[str, Schema]", schema.get("$defs", {})))


def _node(raw: Mapping[str, Any], defs: Mapping[str, Schema]) -> Schema:
    node = _in_place(raw, defs)
    optional = _drop_null(node)
    if optional:
        node = {**_in_place(node.pop("anyOf")[0], defs), **node}
    if "const" in node:
        node["enum"] = [node.pop("const")]
    _bounds(node)
    if isinstance(node.get("additionalProperties"), bool) and node.pop("additionalProperties"):
        node["x-kubernetes-preserve-unknown-fields"] = True
    if "items" in node:
        node["items"] = _node(node["items"], defs)
    if "properties" in node:
        node["properties"] = {name: _node(child, defs) for name, child in node["properties"].items()}
    for noise in ("title", "$defs"):
        if isinstance(node.get(noise), str | dict):
            del node[noise]
    return _default(node, optional=optional)


def _in_place(raw: Mapping[str, Any], defs: Mapping[str, Schema]) -> Schema:
    """Put the target of a reference where it is used; a description at the place of use wins."""
    if "$ref" not in raw:
        return dict(raw)
    target = defs[raw["$ref"].removeprefix("#/$defs/")]
    return {**target, **{key: value for key, value in raw.items() if key != "$ref"}}


def _drop_null(node: Schema) -> bool:
    """Take `null` out of a union; an absent field says the same."""
    options = node.get("anyOf", [])
    kept = [option for option in options if option.get("type") != "null"]
    if len(kept) == len(options):
        return False
    node["anyOf"] = kept
    return True


def _bounds(node: Schema) -> None:
    """Write exclusive bounds as OpenAPI 3.0 does: a bound and a flag."""
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node:
            node[inclusive] = node[exclusive]
            node[exclusive] = True


def _default(node: Schema, *, optional: bool) -> Schema:
    """Keep defaults that are worth showing; an object's is made of those of its fields.

    Whole, because rules are checked on it before the API server would fill in the fields' own.
    """
    if node.get("default") in (None, {}, []):
        node.pop("default", None)
        fields: Mapping[str, Schema] = node.get("properties", {})
        defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
        if defaults and not optional and "required" not in node:
            node["default"] = defaults
    elif "x-kubernetes-int-or-string" in node and str(node["default"]).isdigit():
        node["default"] = int(node["default"])
    return node
