"""A cluster in memory: the words of `cluster.client.Cluster`, with versions, uids and conflicts as the real one has.

For what is hard to make happen on a real API server; `tests/integration` holds the rest against one.
"""

import asyncio
import copy
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from llama_operator.cluster.client import Part, whole
from llama_operator.cluster.resources import Resource, resource_of
from llama_operator.cluster.watching import Change
from llama_operator.errors import ClusterError
from llama_operator.plan.observed import Object


@dataclass(frozen=True, slots=True)
class Call:
    """One request; `name` is empty for a list."""

    verb: str
    kind: str
    name: str = ""


WRITES = frozenset({"create", "replace", "apply", "merge", "delete"})


class Watch:
    """One that is open: of which objects, and the changes that are yet to be told."""

    def __init__(self, kind: str, namespace: str | None, name: str) -> None:
        self.kind, self._namespace, self._name = kind, namespace, name
        self.told: asyncio.Queue[Change] = asyncio.Queue()

    def tell(self, change: Change) -> None:
        """Tell a change, if it is of these objects."""
        metadata = change.obj["metadata"]
        if (
            change.obj["kind"] == self.kind
            and self._namespace in (None, metadata.get("namespace"))
            and self._name in ("", metadata["name"])
        ):
            self.told.put_nowait(change)

    async def changes(self) -> AsyncGenerator[Change]:
        """Yield them, as they come."""
        while True:
            yield await self.told.get()


class FakeCluster:
    """Holds objects; `refuse` makes requests fail, `calls` are those made, `watches` those open.

    `served` are the kinds of other projects, `admit` is a mutating webhook on what is applied.
    """

    def __init__(self, *objects: Object) -> None:
        self.calls: list[Call] = []
        self.served: set[str] = set()
        self.admit: Callable[[dict[str, Any]], None] = lambda _: None
        self.watches: list[Watch] = []
        self._versions = itertools.count(1)
        self._refused: dict[tuple[str, str], ClusterError] = {}
        self._objects: dict[tuple[str, str | None, str], dict[str, Any]] = {}
        for obj in objects:
            self.put(obj)

    @property
    def writes(self) -> list[Call]:
        """The requests that change something."""
        return [call for call in self.calls if call.verb in WRITES]

    def refuse(self, verb: str, kind: str, error: ClusterError | None) -> None:
        """Answer every such request with `error` from now on; None: as usual."""
        self._refused.pop((verb, kind), None)
        if error is not None:
            self._refused[verb, kind] = error

    def put(self, obj: Object) -> dict[str, Any]:
        """Store an object as somebody else would: whatever its version, as a new one."""
        metadata = {**obj["metadata"], "resourceVersion": str(next(self._versions))}
        metadata.setdefault("uid", f"uid-{metadata['resourceVersion']}")
        stored = {**copy.deepcopy(dict(obj)), "metadata": metadata}
        address = obj["kind"], metadata.get("namespace"), metadata["name"]
        self._tell("MODIFIED" if address in self._objects else "ADDED", stored)
        self._objects[address] = stored
        return copy.deepcopy(stored)

    def remove(self, kind: str, namespace: str | None, name: str) -> None:
        """Take an object away as somebody else would."""
        self._tell("DELETED", self._objects.pop((kind, namespace, name)))

    def stored(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind, without a request."""
        return [copy.deepcopy(obj) for (held, _, _), obj in self._objects.items() if held == kind]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """Return one object; None if there is none."""
        self._asked("get", resource.kind, name)
        return copy.deepcopy(self._objects.get((resource.kind, namespace, name)))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: str | None = None,
        part: Part = whole,
    ) -> Sequence[Object]:
        """Return all objects of a kind that match; a selector is one of `key=value` here."""
        self._asked("list", resource.kind)
        wanted = dict(term.split("=") for term in labels.split(",")) if isinstance(labels, str) else labels or {}
        return [
            part(obj)
            for obj in self.stored(resource.kind)
            if namespace in (None, obj["metadata"].get("namespace"))
            and wanted.items() <= obj["metadata"].get("labels", {}).items()
            and all(_selects(term, obj) for term in (fields or "").split(",") if term)
        ]

    @asynccontextmanager
    async def watch(
        self, resource: Resource, namespace: str | None = None, name: str = ""
    ) -> AsyncGenerator[AsyncIterator[Change]]:
        """Tell what is there, then what changes."""
        self._asked("watch", resource.kind, name)
        found = Watch(resource.kind, namespace, name)
        for obj in self.stored(resource.kind):
            found.tell(Change(type="ADDED", obj=obj))
        self.watches.append(found)
        try:
            async with aclosing(found.changes()) as changes:
                yield changes
        finally:
            self.watches.remove(found)

    async def serves(self, resource: Resource) -> bool:
        """Whether the kind is one of `served`."""
        self._asked("serves", resource.kind)
        return resource.kind in self.served

    async def create(self, obj: Object) -> Object:
        """Create an object; status 409 if there is one of its name."""
        _, held = self._find("create", obj)
        if held is not None:
            raise ClusterError("already exists", status=409)
        return self.put(obj)

    async def replace(self, obj: Object, subresource: str | None = None) -> Object:
        """Replace an object; status 409 if it has changed since it was read."""
        _, held = self._find("replace", obj)
        if held is None:
            raise ClusterError("not found", status=404)
        if held["metadata"]["resourceVersion"] != obj["metadata"].get("resourceVersion"):
            raise ClusterError("the object has been modified", status=409)
        return self.put({**held, subresource: obj[subresource]} if subresource else obj)

    async def apply(self, obj: Object, manager: str = "") -> Object:
        """Store an object, whole; status 409 if it names a version that is not the present one."""
        resource_of(obj["apiVersion"], obj["kind"])
        _, held = self._find("apply", obj)
        version = obj["metadata"].get("resourceVersion")
        if version is not None and (held is None or held["metadata"]["resourceVersion"] != version):
            raise ClusterError("the object has been modified", status=409)
        kept = {"uid": held["metadata"]["uid"]} if held else {}
        made = copy.deepcopy({**obj, "metadata": {**obj["metadata"], **kept}})
        self.admit(made)
        return self.put(made)

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """Apply a JSON merge patch that removes nothing."""
        self._asked("merge", resource.kind, name)
        held = self._objects.get((resource.kind, namespace, name))
        if held is None:
            raise ClusterError("not found", status=404)
        return self.put(_merged(held, patch))

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, *, version: str | None = None
    ) -> None:
        """Delete an object; status 409 if it is not the one of `uid`, or of that version."""
        self._asked("delete", resource.kind, name)
        held = self._objects.get((resource.kind, namespace, name))
        if held is None:
            raise ClusterError("not found", status=404)
        if version not in (None, held["metadata"]["resourceVersion"]):
            raise ClusterError("the resourceVersion in the precondition is another one", status=409)
        if held["metadata"]["uid"] != uid:
            raise ClusterError("the UID in the precondition is another one", status=409)
        self.remove(resource.kind, namespace, name)

    def _find(self, verb: str, obj: Object) -> tuple[str, dict[str, Any] | None]:
        metadata = obj["metadata"]
        self._asked(verb, obj["kind"], metadata["name"])
        return metadata["name"], self._objects.get((obj["kind"], metadata.get("namespace"), metadata["name"]))

    def _tell(self, kind: Literal["ADDED", "MODIFIED", "DELETED"], obj: Object) -> None:
        for watch in self.watches:
            watch.tell(Change(type=kind, obj=copy.deepcopy(obj)))

    def _asked(self, verb: str, kind: str, name: str = "") -> None:
        self.calls.append(Call(verb, kind, name))
        error = self._refused.get((verb, kind))
        if error is not None:
            raise error


def _selects(term: str, obj: Mapping[str, Any]) -> bool:
    """Whether a field has a value, or with `!=` has not; an absent field is empty."""
    path, _, value = term.partition("=")
    found: Any = obj
    for part in path.removesuffix("!").split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return (found == value) != path.endswith("!")


def _merged(held: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(held)
    for name, value in patch.items():
        old = found.get(name, {})
        found[name] = _merged(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return found
