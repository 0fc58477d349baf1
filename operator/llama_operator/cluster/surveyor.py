"""Find out what preflight asks: the model on the Hub, with the token of the Secret, and what the cluster offers.

What the operator may not read is None in the answer and fails nothing: rights can be fewer than the chart's.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from pydantic import SecretStr

from llama_operator.cluster.client import Cluster
from llama_operator.cluster.hub import HubQuery
from llama_operator.cluster.nodes import Nodes
from llama_operator.cluster.resources import (
    CLAIM,
    LIMIT_RANGE,
    POD,
    PRIORITY_CLASS,
    QUOTA,
    RUNTIME_CLASS,
    SECRET,
    STORAGE_CLASS,
    VOLUME,
    Resource,
)
from llama_operator.errors import ClusterError
from llama_operator.plan.observed import Key, Object
from llama_operator.plan.survey import HubAnswer, Question, Room, Survey, class_of

_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_ON_NODES: Final = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
T = TypeVar("T")


class Hubs(Protocol):
    """Whoever knows what Hubs say."""

    async def of(self, query: HubQuery) -> HubAnswer:
        """Return what a Hub says; None while it is being asked."""
        ...


class Surveyor:
    """Answers preflight's questions."""

    def __init__(self, cluster: Cluster, hub: Hubs, nodes: Nodes) -> None:
        self._cluster = cluster
        self._hub = hub
        self._nodes = nodes

    async def survey(self, key: Key, question: Question) -> Survey:
        """Return the answers for a LlamaDeployment.

        Raises:
            ClusterError: if the API server failed.
        """
        namespace = key.namespace
        model, nodes, quotas, ranges, classes, absent = await asyncio.gather(
            self._model(namespace, question),
            _if_allowed(self._nodes.list()),
            _if_allowed(self._cluster.list(QUOTA, namespace)),
            _if_allowed(self._cluster.list(LIMIT_RANGE, namespace)),
            _if_allowed(self._cluster.list(STORAGE_CLASS)),
            self._absent(namespace, question.pull_secrets),
        )
        known = None if classes is None else {row["metadata"]["name"]: _is_default(row) for row in classes}
        served = known is None or class_of(question.storage_class, known) in known
        return Survey(
            model=model,
            nodes=nodes,
            quotas=_tuple(quotas),
            limit_ranges=_tuple(ranges),
            storage_classes=known,
            volume_classes=frozenset() if served else await self._volume_classes(),
            absent_secrets=absent,
            absent_classes=await self._absent_classes(question),
            volume_there=await self._is_there(namespace, question.volume),
        )

    async def room(self, key: Key) -> Room:
        """Return what there is of GPUs and what is taken of them; to be asked when a rollout begins, not more often.

        Raises:
            ClusterError: if the API server failed.
        """
        nodes, pods, quotas = await asyncio.gather(
            _if_allowed(self._nodes.list()),
            _if_allowed(self._cluster.list(POD, fields=_ON_NODES, part=_taking)),
            _if_allowed(self._cluster.list(QUOTA, key.namespace)),
        )
        return Room(nodes=nodes, pods=_tuple(pods), quotas=_tuple(quotas))

    async def _is_there(self, namespace: str, claim: str | None) -> bool:
        return claim is None or await self._cluster.get(CLAIM, namespace, claim) is not None

    async def _model(self, namespace: str, question: Question) -> HubAnswer:
        if not question.asks_hub:
            return None
        name, key = question.secret
        token = _token(await self._cluster.get(SECRET, namespace, name), key)
        return await self._hub.of(
            HubQuery(endpoint=question.endpoint, repo=question.repo, revision=question.revision, token=token)
        )

    async def _absent(self, namespace: str, names: Sequence[str]) -> frozenset[str]:
        found = await asyncio.gather(*(self._cluster.get(SECRET, namespace, name) for name in names))
        return frozenset(name for name, secret in zip(names, found, strict=True) if secret is None)

    async def _absent_classes(self, question: Question) -> frozenset[str]:
        asked = ((PRIORITY_CLASS, question.priority_class), (RUNTIME_CLASS, question.runtime_class))
        named = [(resource, name) for resource, name in asked if name is not None]
        lacks = await asyncio.gather(*(self._lacks(resource, name) for resource, name in named))
        return frozenset(name for (_, name), lacking in zip(named, lacks, strict=True) if lacking)

    async def _lacks(self, resource: Resource, name: str) -> bool:
        """Whether there is none of this name; what may not be read is left for the API server to refuse."""
        try:
            return await self._cluster.get(resource, None, name) is None
        except ClusterError as error:
            if error.status != 403:
                raise
            return False

    async def _volume_classes(self) -> frozenset[str]:
        """Return the classes of volumes that nobody has claimed; such a volume needs no StorageClass."""
        volumes = await _if_allowed(self._cluster.list(VOLUME))
        free = (row for row in volumes or () if row.get("status", {}).get("phase") == "Available")
        return frozenset(row["spec"].get("storageClassName") or "" for row in free)


def _taking(pod: Object) -> Object:
    """Keep what a pod takes, and of which node: a cluster has tens of thousands, of 7 KB each."""
    spec: Mapping[str, Any] = pod["spec"]
    return {
        "spec": {
            "nodeName": spec.get("nodeName"),
            "containers": [_needs(row) for row in spec.get("containers") or ()],
            "initContainers": [_needs(row) for row in spec.get("initContainers") or ()],
        },
        "status": {"phase": (pod.get("status") or {}).get("phase")},
    }


def _needs(container: Mapping[str, Any]) -> Object:
    return {name: container[name] for name in ("name", "resources", "restartPolicy") if name in container}


async def _if_allowed(reading: Awaitable[T]) -> T | None:
    try:
        return await reading
    except ClusterError as error:
        if error.status != 403:
            raise
        return None


def _tuple(rows: Sequence[Object] | None) -> tuple[Object, ...] | None:
    return None if rows is None else tuple(rows)


def _is_default(storage_class: Object) -> bool:
    return (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def _token(secret: Object | None, key: str) -> SecretStr | None:
    """Return the token in a Secret, as the server reads it from its file: an empty one is none."""
    written = ((secret or {}).get("data") or {}).get(key)
    if written is None:
        return None
    try:
        text = base64.b64decode(written).decode(errors="replace").strip()
    except binascii.Error:
        return None
    return SecretStr(text) if text else None
