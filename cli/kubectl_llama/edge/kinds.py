"""The kinds that are read or written, by their path in the API."""

from dataclasses import dataclass
from typing import Final

from llama_operator import names


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: `api` is `api/v1` or `apis/GROUP/VERSION`, `plural` its name in paths."""

    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str = "") -> str:
        """Return the path of an object, or of the list."""
        within = f"namespaces/{namespace}/" if self.namespaced and namespace else ""
        return f"/{self.api}/{within}{self.plural}" + (f"/{name}" if name else "")


LLAMA: Final = Kind(f"apis/{names.API_VERSION}", names.PLURAL)
POD: Final = Kind("api/v1", "pods")
SERVICE: Final = Kind("api/v1", "services")
SECRET: Final = Kind("api/v1", "secrets")
CONFIG_MAP: Final = Kind("api/v1", "configmaps")
EVENT: Final = Kind("api/v1", "events")
QUOTA: Final = Kind("api/v1", "resourcequotas")
LIMIT_RANGE: Final = Kind("api/v1", "limitranges")
CLAIM: Final = Kind("api/v1", "persistentvolumeclaims")
NODE: Final = Kind("api/v1", "nodes", namespaced=False)
STORAGE_CLASS: Final = Kind("apis/storage.k8s.io/v1", "storageclasses", namespaced=False)
DEPLOYMENT: Final = Kind("apis/apps/v1", "deployments")
NODE_POOL: Final = Kind("apis/karpenter.sh/v1", "nodepools", namespaced=False)
JOB: Final = Kind("apis/batch/v1", "jobs")
