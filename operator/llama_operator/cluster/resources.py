"""The kinds of objects that the operator reads or writes, and their paths on the API server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from llama_operator import names


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def group_path(self) -> str:
        """The path that lists the kinds of the group."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of one object, or of all in a namespace, or of all in the cluster."""
        parts = ["namespaces", namespace] if namespace and self.namespaced else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join((self.group_path, *(quote(part, safe="") for part in parts)))


LLAMA: Final = Resource(names.API_VERSION, names.KIND, names.PLURAL)
DEPLOYMENT: Final = Resource("apps/v1", "Deployment", "deployments")
REVISION: Final = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
REPLICA_SET: Final = Resource("apps/v1", "ReplicaSet", "replicasets")
JOB: Final = Resource("batch/v1", "Job", "jobs")
SERVICE: Final = Resource("v1", "Service", "services")
SERVICE_ACCOUNT: Final = Resource("v1", "ServiceAccount", "serviceaccounts")
CLAIM: Final = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD: Final = Resource("v1", "Pod", "pods")
CONFIG_MAP: Final = Resource("v1", "ConfigMap", "configmaps")
SECRET: Final = Resource("v1", "Secret", "secrets")
EVENT: Final = Resource("v1", "Event", "events")
NODE: Final = Resource("v1", "Node", "nodes", namespaced=False)
QUOTA: Final = Resource("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE: Final = Resource("v1", "LimitRange", "limitranges")
VOLUME: Final = Resource("v1", "PersistentVolume", "persistentvolumes", namespaced=False)
STORAGE_CLASS: Final = Resource("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
PRIORITY_CLASS: Final = Resource("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False)
RUNTIME_CLASS: Final = Resource("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", namespaced=False)
LEASE: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")

NETWORK_POLICY: Final = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SERVICE_MONITOR: Final = Resource("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors")
LEADER_WORKER_SET: Final = Resource("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkersets")

ROLE: Final = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING: Final = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
BUDGET: Final = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")

CHILDREN: Final = (
    SERVICE_ACCOUNT,
    CLAIM,
    BUDGET,
    ROLE,
    ROLE_BINDING,
    LEASE,
    SERVICE,
    REVISION,
    NETWORK_POLICY,
    DEPLOYMENT,
)
"""Kinds that a plan applies and prunes."""

SLEEP: Final = (ROLE, ROLE_BINDING, LEASE)
"""Those of them that only a model that may sleep has: what its gateway may do, and on what."""


def child_kinds(*, gateway: bool) -> tuple[Resource, ...]:
    """Return the kinds that a plan applies and prunes, with or without gateways."""
    return CHILDREN if gateway else tuple(kind for kind in CHILDREN if kind not in SLEEP)


PACKAGES: Final = (CONFIG_MAP, JOB)
"""Kinds that a plan for a package applies and prunes besides; they are not watched."""

OPTIONAL: Final = (SERVICE_MONITOR, LEADER_WORKER_SET)
"""Kinds of other projects that a plan applies and prunes where the cluster knows them; they are not watched."""

_BY_KIND: Final[Mapping[tuple[str, str], Resource]] = {
    (resource.api_version, resource.kind): resource
    for resource in (*CHILDREN, *PACKAGES, *OPTIONAL, LLAMA, POD, SECRET, EVENT, NODE)
}


def resource_of(api_version: str, kind: str) -> Resource:
    """Return the resource of a kind.

    Raises:
        KeyError: if it is none of the above.
    """
    return _BY_KIND[api_version, kind]
