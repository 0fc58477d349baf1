"""What a LlamaDeployment waits for outside itself: objects of others whose change may let it go on."""

from dataclasses import dataclass
from typing import Literal

AwaitedKind = Literal["Secret", "Node", "ResourceQuota", "LimitRange", "StorageClass", "PersistentVolumeClaim"]


@dataclass(frozen=True, slots=True, order=True)
class Awaited:
    """The one object of this `name`, or all of the kind where that is empty; in no `namespace` but the cluster's."""

    kind: AwaitedKind
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, "/".join(filter(None, (self.namespace, self.name)))) if part)


NOTHING: frozenset[Awaited] = frozenset()
"""Whoever waits for nothing."""
