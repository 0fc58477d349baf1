"""Read one LlamaDeployment and everything about it, live: whatever is not in an `Observed` was not there just now."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from llama_operator import names
from llama_operator.cluster.client import Cluster
from llama_operator.cluster.kinds import Kinds
from llama_operator.cluster.nodes import Nodes
from llama_operator.cluster.resources import (
    CHILDREN,
    CLAIM,
    CONFIG_MAP,
    EVENT,
    JOB,
    LLAMA,
    OPTIONAL,
    PACKAGES,
    POD,
    REPLICA_SET,
    REVISION,
    SECRET,
    Resource,
    child_kinds,
    resource_of,
)
from llama_operator.cluster.routes import Routes
from llama_operator.cluster.startup import StartupReports
from llama_operator.cluster.usage import Usages
from llama_operator.plan.cost import cost_of, is_due
from llama_operator.plan.observed import Key, NodeOffer, Object, Observed, Ref, SecretFact, ref_of
from llama_operator.plan.package import config_map_ref, wanted_secrets
from llama_operator.plan.sleep import is_asked
from llama_operator.plan.source import claims_of, secrets_of
from llama_operator.plan.wanted import named_refs
from llama_operator.spec.package import Package

_MOST_EVENTS: Final = 50
_SHARED: Final = (names.SHARED_PREFIX, names.ENVIRONMENT_PREFIX)


class Observer:
    """Reads the cluster for `reconcile`. Every method raises ClusterError.

    What does not depend on each other is read at the same time; a read that fails leaves the others to end unheeded.
    """

    def __init__(
        self,
        cluster: Cluster,
        startup: StartupReports,
        nodes: Nodes,
        routes: Routes,
        usages: Usages,
        *,
        gateway: bool = True,
    ) -> None:
        self._cluster = cluster
        self._made = child_kinds(gateway=gateway)
        self._startup = startup
        self._nodes = nodes
        self._routes = routes
        self._usages = usages
        self._kinds = Kinds(cluster)

    async def keys(self, namespaces: Collection[str]) -> list[Key]:
        """Return every LlamaDeployment in these namespaces; in all of them where none is named."""
        lists = await asyncio.gather(*(self._cluster.list(LLAMA, namespace) for namespace in namespaces or (None,)))
        return [Key(obj["metadata"]["namespace"], obj["metadata"]["name"]) for found in lists for obj in found]

    async def body(self, key: Key) -> Object | None:
        """Return the LlamaDeployment; None if there is none."""
        return await self._cluster.get(LLAMA, key.namespace, key.name)

    async def observe(
        self,
        key: Key,
        body: Object,
        secret: str | None,
        api_keys: str | None = None,
        *,
        shared: bool = False,
        package: Package | None = None,
    ) -> Observed:
        """Return everything about a LlamaDeployment.

        Args:
            key: which one.
            body: the LlamaDeployment itself.
            secret: the name of its token Secret; nothing of it is kept but the names of its keys.
            api_keys: the selector of the Secrets with its API keys; None if there is none.
            shared: whether its cache is shared, so that those of the namespace are looked at.
            package: the package that it serves; of its Secrets too nothing is kept but the names of their keys.
        """
        kinds = await self._kinds.served()
        own, (pods, gateways), fact, key_secrets, caches, downloads = await asyncio.gather(
            self._children(key, body, (*kinds, *PACKAGES) if package is not None else kinds, api_keys),
            self._pods(key, gateways=api_keys is not None and is_asked(body)),
            self._secret(key, secret),
            self._key_secrets(key, api_keys),
            self._shared(key, wanted=shared or package is not None),
            self._downloads(key, wanted=shared, made=package is not None),
        )
        package_secrets: tuple[SecretFact, ...] = ()
        if package is not None:
            own = {**own, **await self._packages(key, package, own)}
            package_secrets = await self._package_secrets(key, package, own)
        if api_keys is None and (_mounted_keys(key, own) or _may_have_had_keys(body, own)):
            own = {**own, **await self._compiled_keys(key)}
        if not shared and _named_shared(own):
            caches = await self._shared(key, wanted=True)
            downloads = await self._downloads(key, wanted=True)
        children = {**own, **caches}
        unready = [pod for pod in (*pods, *downloads) if not _is_ready(pod) and not _is_over(pod)]
        unplaced = sum(not pod.get("spec", {}).get("nodeName") for pod in unready)
        startup, sets, nodes, warnings, pulls, routed = await asyncio.gather(
            self._startup.of([pod for pod in (*unready, *_followed(body, pods)) if _may_answer(pod)]),
            self._replica_sets(key, wanted=bool(unready)),
            self._all_nodes(wanted=unplaced > 0),
            self._events(key, (*children.values(), *pods, *downloads), "type=Warning", wanted=bool(unready)),
            self._events(key, unready, "reason=Pulled", wanted=len(unready) > unplaced),
            self._routed(key, body, children, ready=any(map(_is_ready, pods))),
        )
        now = datetime.now(UTC)
        asked = [pod for pod in pods if _has_address(pod)] if is_due(cost_of(body), body, now, tuple(pods)) else []
        return Observed(
            key=key,
            body=body,
            now=now,
            usage=await self._usages.of(asked),
            children=children,
            kinds=frozenset(resource.kind for resource in kinds),
            pods=tuple(pods),
            gateways=tuple(gateways),
            downloads=downloads,
            replica_sets=sets,
            startup=startup,
            routed=routed,
            secret=fact,
            key_secrets=key_secrets,
            package_secrets=package_secrets,
            nodes=nodes,
            events=(*warnings, *pulls),
        )

    async def _children(
        self, key: Key, body: Object, kinds: Sequence[Resource], api_keys: str | None
    ) -> Mapping[Ref, Object]:
        labels = {names.LABEL_DEPLOYMENT: key.name}
        lists = await asyncio.gather(
            *(self._cluster.list(kind, key.namespace, labels=labels) for kind in (*self._made, *kinds))
        )
        labelled = {ref_of(obj): obj for found in lists for obj in found}
        # What holds a name that we want is to be seen whoever made it, and no label tells of it.
        unknown = {resource.kind for resource in (*CHILDREN, *OPTIONAL)} - {
            resource.kind for resource in (*self._made, *kinds)
        }
        if api_keys is None:
            unknown.add(SECRET.kind)  # which is read only where it is needed
        others = [ref for ref in named_refs(key, body) if ref not in labelled and ref.kind not in unknown]
        named = await asyncio.gather(
            *(self._cluster.get(resource_of(ref.api_version, ref.kind), key.namespace, ref.name) for ref in others)
        )
        return labelled | {ref: obj for ref, obj in zip(others, named, strict=True) if obj is not None}

    async def _shared(self, key: Key, *, wanted: bool) -> Mapping[Ref, Object]:
        """Return the shared caches of the namespace, or what else has such a name, each with the Job that fills it."""
        if not wanted:
            return {}
        found = await self._cluster.list(CLAIM, key.namespace)
        claims = {ref_of(obj): obj for obj in found if obj["metadata"]["name"].startswith(_SHARED)}
        models = [ref for ref in claims if ref.name.startswith(names.SHARED_PREFIX)]
        jobs = await asyncio.gather(*(self._cluster.get(JOB, key.namespace, ref.name) for ref in models))
        return claims | {ref_of(job): job for job in jobs if job is not None}

    async def _downloads(self, key: Key, *, wanted: bool, made: bool = False) -> tuple[Object, ...]:
        """Return the pods that fill shared caches, or those that make the environment of a package."""
        if not (wanted or made):
            return ()
        labels = names.environment_labels(key.name) if made else names.shared_labels()
        return tuple(await self._cluster.list(POD, key.namespace, labels=labels))

    async def _packages(self, key: Key, package: Package, own: Mapping[Ref, Object]) -> dict[Ref, Object]:
        """Return the ConfigMaps of its package, and of those that may be gone back to, which have no label of ours."""
        rows: list[Mapping[str, Any]] = [
            (obj.get("data") or {}).get("spec") or {} for ref, obj in own.items() if ref.kind == REVISION.kind
        ]
        named = {package.config_map, *((row.get("package") or {}).get("configMap") for row in rows)} - {None}
        others = [name for name in sorted(map(str, named)) if config_map_ref(name) not in own]
        found = await asyncio.gather(*(self._cluster.get(CONFIG_MAP, key.namespace, name) for name in others))
        return {ref_of(obj): obj for obj in found if obj is not None}

    async def _package_secrets(self, key: Key, package: Package, own: Mapping[Ref, Object]) -> tuple[SecretFact, ...]:
        held = own.get(config_map_ref(package.config_map or ""))
        secrets = sorted({row.secret for row in wanted_secrets(package, held)})
        found = await asyncio.gather(*(self._secret(key, name) for name in secrets))
        return tuple(fact for fact in found if fact is not None)

    async def _pods(self, key: Key, *, gateways: bool) -> tuple[Sequence[Object], Sequence[Object]]:
        """Return the pods, and the gateway's where they are asked for."""
        pods = self._cluster.list(POD, key.namespace, labels=names.pod_selector(key.name))
        if not gateways:
            return await pods, ()
        return await asyncio.gather(
            pods, self._cluster.list(POD, key.namespace, labels=names.gateway_selector(key.name))
        )

    async def _routed(self, key: Key, body: Object, children: Mapping[Ref, Object], *, ready: bool) -> bool:
        if not ready or _is_available(body):
            return True
        service = children.get(Ref("v1", "Service", key.name))
        return service is not None and not await self._routes.refuses(service)

    async def _secret(self, key: Key, name: str | None) -> SecretFact | None:
        if name is None:
            return None
        found = await self._cluster.get(SECRET, key.namespace, name)
        if found is None:
            return SecretFact(name=name, exists=False)
        return SecretFact(
            name=name,
            exists=True,
            keys=frozenset(found.get("data") or ()),
            resource_version=found["metadata"]["resourceVersion"],
        )

    async def _key_secrets(self, key: Key, selector: str | None) -> tuple[Object, ...] | None:
        if selector is None:
            return None
        return tuple(await self._cluster.list(SECRET, key.namespace, labels=selector, fields="type=Opaque"))

    async def _compiled_keys(self, key: Key) -> dict[Ref, Object]:
        """Return the Secret of a spec that selected API keys before, for it is to go."""
        found = await self._cluster.get(SECRET, key.namespace, names.api_keys(key.name))
        return {} if found is None else {ref_of(found): found}

    async def _replica_sets(self, key: Key, *, wanted: bool) -> tuple[Object, ...]:
        if not wanted:
            return ()
        return tuple(await self._cluster.list(REPLICA_SET, key.namespace, labels=names.pod_selector(key.name)))

    async def _all_nodes(self, *, wanted: bool) -> tuple[NodeOffer, ...]:
        """Return the nodes, closed ones too: that they are may be why."""
        return await self._nodes.list() if wanted else ()

    async def _events(self, key: Key, about: Sequence[Object], fields: str, *, wanted: bool) -> tuple[Object, ...]:
        if not wanted:
            return ()
        uids = {obj["metadata"]["uid"] for obj in about}
        found = await self._cluster.list(EVENT, key.namespace, fields=fields)
        ours = [event for event in found if event["involvedObject"].get("uid") in uids]
        return tuple(sorted(ours, key=_last_seen, reverse=True)[:_MOST_EVENTS])


def _named_shared(children: Mapping[Ref, Object]) -> bool:
    """Whether a rollout that may be gone back to has a shared cache, whatever the spec says now."""
    return any(name.startswith(names.SHARED_PREFIX) for pod in _templates(children) for name in claims_of(pod))


def _mounted_keys(key: Key, children: Mapping[Ref, Object]) -> bool:
    """Whether a rollout that is known has API keys."""
    return any(name == names.api_keys(key.name) for pod in _templates(children) for name in secrets_of(pod))


def _may_have_had_keys(body: Object, children: Mapping[Ref, Object]) -> bool:
    """Whether API keys may have been compiled that no rollout tells of: the spec was another, or checks held it.

    A new LlamaDeployment, and one whose spec has been looked at, cost no request.
    """
    status: Mapping[str, Any] = body.get("status") or {}
    edited = status.get("observedGeneration") != body["metadata"].get("generation")
    return bool(status) and (edited or not any(ref.kind == "ControllerRevision" for ref in children))


def _templates(children: Mapping[Ref, Object]) -> Iterator[Mapping[str, Any]]:
    """Yield the pod templates of the rollouts that are known."""
    # A LeaderWorkerSet hands its labels on to revisions of its own, which hold something else.
    held = (obj.get("data") or {} for ref, obj in children.items() if ref.kind == "ControllerRevision")
    yield from (data["template"] for data in held if "template" in data)


def _is_ready(pod: Object) -> bool:
    rows = pod.get("status", {}).get("conditions", ())
    return any(row["type"] == "Ready" and row["status"] == "True" for row in rows)


def _is_available(body: Object) -> bool:
    rows = body.get("status", {}).get("conditions", ())
    return any(row["type"] == "Available" and row["status"] == "True" for row in rows)


def _is_over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") == "Succeeded"


def _followed(body: Object, pods: Iterable[Object]) -> Iterator[Object]:
    """Yield the pod whose start-up was followed until now and is over, to be asked once more how it went."""
    before: Mapping[str, Any] = (body.get("status") or {}).get("startup") or {}
    if "seconds" not in before:
        yield from (pod for pod in pods if _is_ready(pod) and pod["metadata"]["name"] == before.get("podName"))


def _may_answer(pod: Object) -> bool:
    return _has_address(pod) and "deletionTimestamp" not in pod["metadata"]


def _has_address(pod: Object) -> bool:
    status = pod.get("status", {})
    return status.get("phase") == "Running" and bool(status.get("podIP"))


def _last_seen(event: Mapping[str, Any]) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
