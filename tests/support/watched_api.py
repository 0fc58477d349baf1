"""An API server's watches over HTTP, without the rest of it: what is there, then each change, until it is cut."""

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from llama_operator.cluster.resources import NODE, QUOTA, SECRET, Resource
from llama_operator.plan.observed import Object

_KINDS = {resource.plural: resource for resource in (SECRET, NODE, QUOTA)}
Row = tuple[str, dict[str, Any]]


class WatchedApi:
    """Holds objects; `opened` and `closed` get the path of each watch, `refused` plurals are forbidden."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[str] = asyncio.Queue()
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.refused: set[str] = set()
        self.requests: list[str] = []
        self._versions = itertools.count(1)
        self._objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._streams: dict[asyncio.Queue[Row | None], web.Request] = {}

    def put(self, resource: Resource, name: str, namespace: str = "", **fields: Any) -> None:
        """Store an object, and tell of it."""
        metadata = {"name": name, "resourceVersion": str(next(self._versions)), **fields.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}
        address = resource.plural, namespace, name
        self._tell("MODIFIED" if address in self._objects else "ADDED", obj)
        self._objects[address] = obj

    def remove(self, resource: Resource, name: str, namespace: str = "") -> None:
        """Take an object away, and tell of it."""
        self._tell("DELETED", self._objects.pop((resource.plural, namespace, name)))

    def say(self, kind: str, obj: Mapping[str, Any]) -> None:
        """Write a row to every watch that is open."""
        for stream in self._streams:
            stream.put_nowait((kind, dict(obj)))

    def end(self) -> None:
        """End every watch, as after its time."""
        for stream in self._streams:
            stream.put_nowait(None)

    def cut(self) -> None:
        """Drop the connection of every watch; what changes from now on is told to none of them."""
        for request in self._streams.values():
            if isinstance(request.transport, asyncio.Transport):
                request.transport.abort()
        self._streams.clear()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append(request.path_qs)
        plural = request.path.rpartition("/")[2]
        if plural in self.refused:
            said = f'{plural} is forbidden: cannot watch resource "{plural}"'
            return web.json_response({"kind": "Status", "message": said, "code": 403}, status=403)
        there = [obj for obj in self._objects.values() if _is_asked_for(obj, request)]
        stream: asyncio.Queue[Row | None] = asyncio.Queue()
        for obj in there:
            stream.put_nowait(("ADDED", obj))
        self._streams[stream] = request
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self.opened.put_nowait(request.path)
        try:
            while (row := await stream.get()) is not None:
                await response.write(json.dumps({"type": row[0], "object": row[1]}).encode() + b"\n")
            await response.write_eof()
        finally:
            self._streams.pop(stream, None)
            self.closed.put_nowait(request.path)
        return response

    def _tell(self, kind: str, obj: dict[str, Any]) -> None:
        for stream, request in self._streams.items():
            if _is_asked_for(obj, request):
                stream.put_nowait((kind, obj))


def _is_asked_for(obj: Object, request: web.Request) -> bool:
    *_, namespace, plural = ("", *request.path.split("/"))
    resource = _KINDS[plural]
    of = namespace if resource.namespaced else ""
    name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
    metadata = obj["metadata"]
    return obj["kind"] == resource.kind and metadata.get("namespace", "") == of and name in ("", metadata["name"])
