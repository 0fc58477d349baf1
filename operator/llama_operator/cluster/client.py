"""The Kubernetes API on raw dictionaries: every call has a timeout, every failure is a ClusterError.

`Cluster` is what the rest of the operator uses; `ApiCluster` is its one implementation, over `kubernetes.aio`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Final, Protocol, cast

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.rest import RESTResponse

from llama_operator.cluster import watching
from llama_operator.cluster.access import configuration
from llama_operator.cluster.answers import decoded, refusal, told
from llama_operator.cluster.resources import Resource, resource_of
from llama_operator.cluster.watching import Change
from llama_operator.errors import ClusterError
from llama_operator.names import FIELD_MANAGER
from llama_operator.plan.observed import Object

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_PAGE: Final = 500


Asked = Callable[[str, int | None], None]
"""Told of each request: its method, or WATCH, and the status of the answer; None where there was none."""


Part = Callable[[Object], Object]
"""What is kept of an object."""


def whole(obj: Object) -> Object:
    """Keep all of an object."""
    return obj


class Cluster(Protocol):
    """Reading and writing objects. Every method raises ClusterError, with the status of the answer if there was one."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """Return one object; None if there is none."""
        ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: str | None = None,
        part: Part = whole,
    ) -> Sequence[Object]:
        """Return all objects of a kind, in one namespace or in all; `labels` may be a whole selector.

        Of each only its `part` is kept, as its page arrives: there may be more than fit into memory whole.
        """
        ...

    def watch(
        self, resource: Resource, namespace: str | None = None, name: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """Open a watch on all objects of a kind, or on the one of a name: the changes, until the server ends it.

        What is there is told first. Whatever changes after it is open is told.
        """
        ...

    async def serves(self, resource: Resource) -> bool:
        """Return whether the API server knows a kind."""
        ...

    async def create(self, obj: Object) -> Object:
        """Create an object; status 409 if there is one of its name."""
        ...

    async def replace(self, obj: Object, subresource: str | None = None) -> Object:
        """Replace an object; status 409 if it has changed since it was read."""
        ...

    async def apply(self, obj: Object, manager: str = FIELD_MANAGER) -> Object:
        """Make the fields of `obj` hold (server-side apply), taking them over from other field managers.

        Fields that `manager` applied before, alone, and applies no more, go.
        """
        ...

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """Apply a JSON merge patch."""
        ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, *, version: str | None = None
    ) -> None:
        """Delete an object and what it owns, in the background.

        Status 409 if it is not the one of `uid`, or no longer of this resource `version`.
        """
        ...


class ApiCluster:
    """`Cluster` on a real API server."""

    def __init__(self, client: ApiClient, asked: Asked = lambda _verb, _code: None) -> None:
        self._client = client
        self._asked = asked

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """Return one object; None if there is none."""
        try:
            return await self._call("GET", resource.path(namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: str | None = None,
        part: Part = whole,
    ) -> Sequence[Object]:
        """Return all objects of a kind, page by page."""
        query = {"limit": str(_PAGE)}
        if labels:
            query["labelSelector"] = labels if isinstance(labels, str) else _selector(labels)
        if fields:
            query["fieldSelector"] = fields
        # The items of a list come without the kind that a single object has.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        found: list[Object] = []
        while True:
            page = await self._call("GET", resource.path(namespace), query)
            found += (part({**item, **kind}) for item in page["items"])
            token = page["metadata"].get("continue")
            if not token:
                return found
            query["continue"] = token

    @asynccontextmanager
    async def watch(
        self, resource: Resource, namespace: str | None = None, name: str = ""
    ) -> AsyncGenerator[AsyncIterator[Change]]:
        """Open a watch; its connection is closed at the end of the block."""
        path = resource.path(namespace)
        try:
            response = await self._opened(path, watching.query(name))
        except ClusterError as error:
            self._asked("WATCH", error.status)
            raise
        self._asked("WATCH", 200)
        try:
            async with aclosing(watching.changes(response, path)) as found:
                yield found
        finally:
            response.close()

    async def serves(self, resource: Resource) -> bool:
        """Return whether the API server lists a kind among those of its group."""
        try:
            found = await self._call("GET", resource.group_path)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return any(row["name"] == resource.plural for row in found["resources"])

    async def create(self, obj: Object) -> Object:
        """Create an object."""
        resource, namespace, _ = _address(obj)
        return await self._call("POST", resource.path(namespace), {"fieldManager": FIELD_MANAGER}, obj)

    async def replace(self, obj: Object, subresource: str | None = None) -> Object:
        """Replace an object, or one part of it."""
        resource, namespace, name = _address(obj)
        path = resource.path(namespace, name, subresource)
        return await self._call("PUT", path, {"fieldManager": FIELD_MANAGER}, obj)

    async def apply(self, obj: Object, manager: str = FIELD_MANAGER) -> Object:
        """Apply the fields of an object."""
        resource, namespace, name = _address(obj)
        query = {"fieldManager": manager, "force": "true"}
        return await self._call(
            "PATCH", resource.path(namespace, name), query, obj, content_type="application/apply-patch+yaml"
        )

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """Apply a JSON merge patch."""
        path, query = resource.path(namespace, name), {"fieldManager": FIELD_MANAGER}
        return await self._call("PATCH", path, query, patch, content_type="application/merge-patch+json")

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, *, version: str | None = None
    ) -> None:
        """Delete the object of this `uid`."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid} | ({"resourceVersion": version} if version else {}),
        }
        await self._call("DELETE", resource.path(namespace, name), body=options)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        try:
            answer = await self._answer(method, path, query, body, content_type)
        except ClusterError as error:
            self._asked(method, error.status)
            raise
        self._asked(method, 200)
        return answer

    async def _answer(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Object | None, content_type: str
    ) -> dict[str, Any]:
        with told(method, path):
            response = await self._send(method, path, query, body, content_type)
            data = cast("bytes", await response.read())
        status = cast("int", response.status)
        answer = decoded(data)
        if status // 100 != 2 or answer is None:
            raise refusal(method, path, status, answer)
        return answer

    async def _opened(self, path: str, query: Mapping[str, str]) -> aiohttp.ClientResponse:
        with told("GET", path):
            found = await self._send("GET", path, query, timeout=watching.TIMEOUT)
            response = cast("aiohttp.ClientResponse", found.response)
            if response.status == 200:
                return response
            data = await response.read()
        raise refusal("GET", path, response.status, decoded(data))

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Object | None = None,
        content_type: str = "application/json",
        *,
        timeout: aiohttp.ClientTimeout = _TIMEOUT,  # noqa: ASYNC109  (the HTTP client's own, in its parts)
    ) -> RESTResponse:
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        return await self._client.call_api(*request, _request_timeout=timeout)


def _address(obj: Object) -> tuple[Resource, str, str]:
    metadata = obj["metadata"]
    return resource_of(obj["apiVersion"], obj["kind"]), metadata["namespace"], metadata["name"]


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


@asynccontextmanager
async def connected(asked: Asked = lambda _verb, _code: None) -> AsyncGenerator[ApiCluster]:
    """Open the cluster of the environment, and close its connections at the end; `asked` is told of each request.

    Raises:
        ClusterError: if there is no usable configuration.
    """
    found = await configuration()
    found.connection_pool_maxsize = 0  # no bound: a watch keeps its connection, and must not take those of the others
    async with ApiClient(configuration=found) as client:
        yield ApiCluster(client, asked)
