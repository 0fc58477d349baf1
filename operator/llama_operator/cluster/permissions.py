"""What the operator may do: the rules of its roles, for the chart. Nothing here that the code does not use."""

from collections.abc import Mapping
from typing import Any, Final

from llama_operator.cluster.resources import (
    EVENT,
    LEASE,
    LIMIT_RANGE,
    LLAMA,
    NODE,
    OPTIONAL,
    PACKAGES,
    POD,
    PRIORITY_CLASS,
    QUOTA,
    REPLICA_SET,
    RUNTIME_CLASS,
    SECRET,
    SLEEP,
    STORAGE_CLASS,
    VOLUME,
    Resource,
    child_kinds,
)

_READ: Final = ("get", "list", "watch")


def _rule(resource: Resource, *verbs: str, subresource: str = "") -> dict[str, Any]:
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return {"apiGroups": [resource.group], "resources": [plural], "verbs": list(verbs)}


PERMISSIONS: Final[Mapping[str, list[dict[str, Any]]]] = {
    "cluster": [
        _rule(NODE, "list", "watch"),
        _rule(STORAGE_CLASS, "list", "watch"),
        _rule(VOLUME, "list"),
        _rule(PRIORITY_CLASS, "get"),
        _rule(RUNTIME_CLASS, "get"),
    ],
    "namespaced": [
        _rule(LLAMA, *_READ),
        _rule(LLAMA, "update", subresource="status"),
        # An object that is applied and does not exist yet needs create as well as patch.
        *(_rule(child, *_READ, "create", "patch", "delete") for child in child_kinds(gateway=False)),
        *(_rule(child, "get", "list", "create", "patch", "delete") for child in OPTIONAL),
        *(_rule(kind, "get", "list", "create", "patch", "delete") for kind in PACKAGES),
        _rule(POD, "list", "watch", "patch"),
        _rule(REPLICA_SET, "list"),
        _rule(QUOTA, "list", "watch"),
        _rule(LIMIT_RANGE, "list", "watch"),
        _rule(SECRET, "get"),
        _rule(EVENT, "get", "list", "create", "patch"),
    ],
    "watchSecrets": [_rule(SECRET, "watch")],
    "apiKeys": [_rule(SECRET, "list", "create", "patch", "delete")],
    "gateway": [
        *(_rule(child, *_READ, "create", "patch", "delete") for child in SLEEP),
        # Not the operator's own need: nobody can grant what he may not do, and a gateway writes on its Lease.
        _rule(LEASE, "update"),
    ],
    "leadership": [_rule(LEASE, "get", "create", "update"), _rule(POD, "get")],
}
"""`cluster`: outside any namespace; `namespaced`: where LlamaDeployments are; `watchSecrets`: there too, unless the
chart is told that Secrets which preflight waits for are looked at now and then; `apiKeys`: the same, unless it is told
to do without `spec.auth.apiKeySecretSelector`; `gateway`: the same for `spec.scaling.minReplicas` 0; `leadership`: in
the operator's own."""
