"""The only place that speaks to the API server; its refusals become our errors.

Over the official client, which knows kubeconfigs, credential plugins and proxies. Objects stay raw dictionaries.
"""

import json
import logging
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, cast
from urllib.parse import urlencode

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from kubectl_llama.edge.kinds import LLAMA, POD, Kind
from kubectl_llama.errors import CliError, ClusterError, NotFoundError, UsageError

Object = Mapping[str, Any]
MANAGER: Final = "kubectl-llama"
# Its warnings of retries are no news: the last failure is an error of ours.
logging.getLogger("urllib3").setLevel(logging.ERROR)
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=60)
"""How long a request may take where --request-timeout does not say; 0 waits for ever, as with kubectl."""
_INSTALL: Final = "install the operator: helm install llama-operator charts/llama-operator"


def seconds(text: str, flag: str) -> float:
    """Return a time such as 30s, 2m or 1h in seconds.

    Raises:
        UsageError: if it is none.
    """
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise UsageError(f"{flag} is {text!r}", fix="write a time such as 30s, 2m or 1h", field=flag)
    return float(found[1]) * _UNIT[found[2]]


class Cluster(Protocol):
    """What the verbs ask of a cluster."""

    namespace: str

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return an object; None if there is none."""
        ...

    def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Sequence[Object]:
        """Return the objects that the selectors name."""
        ...

    def apply(self, kind: Kind, obj: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Create an object or change the fields that it names, by server-side apply."""
        ...

    def patch(self, kind: Kind, name: str, namespace: str, change: Object) -> Object:
        """Merge `change` onto an object."""
        ...

    def delete(self, kind: Kind, name: str, namespace: str) -> None:
        """Delete an object and, in the background, what it owns."""
        ...

    def log(self, namespace: str, pod: str, **query: str) -> Iterator[bytes]:
        """Yield the lines of a container's log."""
        ...

    def forward(self, namespace: str, pod: str, port: int) -> socket.socket:
        """Return a connection to a port of a pod, through the API server and the kubelet."""
        ...


class KubeCluster:
    """A real cluster."""

    def __init__(
        self,
        api: client.ApiClient,
        namespace: str,
        timeout: float | None,
        *,
        user: str = "",
        groups: Sequence[str] = (),
    ) -> None:
        self.namespace = namespace
        self._api = api
        self._timeout = _TIMEOUT if timeout is None else timeout or None
        self._who = [("Impersonate-User", user)] if user else []
        self._who += [("Impersonate-Group", group) for group in groups]

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return an object; None if there is none."""
        try:
            return self._object("GET", kind.path(namespace, name))
        except NotFoundError:
            return None

    def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Sequence[Object]:
        """Return the objects that the selectors name."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        found = self._object("GET", kind.path(namespace), query=query)
        # The items of a list leave out what they are.
        what = {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List")}
        return [{**what, **item} for item in found.get("items") or ()]

    def apply(self, kind: Kind, obj: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Create an object or change the fields that it names, by server-side apply."""
        metadata = obj["metadata"]
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        query |= {"force": "true"} if force else {}
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return self._object("PATCH", path, query=query, body=obj, form="application/apply-patch+yaml")

    def patch(self, kind: Kind, name: str, namespace: str, change: Object) -> Object:
        """Merge `change` onto an object."""
        path, query = kind.path(namespace, name), {"fieldManager": MANAGER}
        return self._object("PATCH", path, query=query, body=change, form="application/merge-patch+json")

    def delete(self, kind: Kind, name: str, namespace: str) -> None:
        """Delete an object and, in the background, what it owns."""
        self._ask("DELETE", kind.path(namespace, name), query={"propagationPolicy": "Background"})

    def log(self, namespace: str, pod: str, **query: str) -> Iterator[bytes]:
        """Yield the lines of a container's log."""
        found = self._ask("GET", f"{POD.path(namespace, pod)}/log", query=query, waits=True)
        rest = b""
        try:
            for piece in found.stream(2**16, decode_content=True):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"the log of {pod} broke off: {type(error).__name__}") from None
        if rest:
            yield rest

    def forward(self, namespace: str, pod: str, port: int) -> socket.socket:
        """Return a connection to a port of a pod, through the API server and the kubelet."""
        from kubernetes.stream import portforward  # noqa: PLC0415  (only who asks a model needs websockets)

        if self._who:
            raise UsageError("a port-forward cannot act as somebody else", fix="leave --as out", field="--as")
        call = client.CoreV1Api(self._api).connect_get_namespaced_pod_portforward
        try:
            forwarded = portforward(call, pod, namespace, ports=str(port))
        except ApiException as error:
            raise ClusterError(
                f"no way to port {port} of pod {pod}: {_reason(error)}",
                fix=f"it takes the right to create pods/portforward in namespace {namespace}",
                code="Forbidden",
            ) from None
        return forwarded.socket(port)

    def _object(self, method: str, path: str, **how: Any) -> Object:  # noqa: ANN401  (as `_ask` takes it)
        """Return the object that is the answer; a proxy or a login page may answer in the API server's place."""
        data = self._ask(method, path, **how).data
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not {"apiVersion", "kind"} <= found.keys():
            raise ClusterError(
                f"{self._api.configuration.host} answers {path} with something that is no Kubernetes object",
                code="NotKubernetes",
                fix="does the kubeconfig's server name an API server? A proxy or a login page may stand before it",
            )
        return cast("Object", found)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        form: str = "application/json",
        waits: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer, read as a whole unless it `waits` for more to come."""
        asked = urlencode({name: value for name, value in (query or {}).items() if value})
        headers: dict[str, Any] = {"Accept": "application/json, */*", "Content-Type": form}
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        host = self._api.configuration.host
        sent = urllib3.HTTPHeaderDict({**self._api.default_headers, **headers})
        for name, value in self._who:
            sent.add(name, value)  # one line for each group
        try:
            answer = self._api.rest_client.pool_manager.request(
                method,
                f"{host}{path}" + (f"?{asked}" if asked else ""),
                body=None if body is None else json.dumps(body),
                headers=sent,
                timeout=urllib3.Timeout(connect=_TIMEOUT.connect_timeout, read=None) if waits else self._timeout,
                preload_content=False,
            )
            if answer.status >= 300:
                raise refusal(answer.status, _message(answer.data), path)
            if not waits:
                answer.data  # noqa: B018  (reads it)
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(host, error) from None
        return answer


def refusal(status: int, message: str, path: str) -> CliError:
    """Return what an answer other than 2xx means."""
    if status in (401, 403):
        return ClusterError(message, code="Forbidden", fix="ask for these rights, or use another --context")
    if status == 404 and path.startswith(f"/{LLAMA.api}") and "could not find the requested resource" in message:
        return ClusterError("this cluster knows no LlamaDeployments", code="NotInstalled", fix=_INSTALL)
    if status == 404:
        return NotFoundError(message)
    if status == 409:
        return CliError(message, code="Conflict", fix="--force-conflicts takes these fields over")
    return CliError(f"the API server refuses it: {message}", code="Invalid" if status == 422 else "Failed")


def unreachable(host: str, error: Exception) -> ClusterError:
    """Return the error of a cluster that does not answer, in words that hold no header and no URL's query."""
    reason = getattr(error, "reason", error)
    kind = re.sub(r"^.*?: ", "", str(reason)).split("(Caused")[0][:200] if reason else ""
    return ClusterError(
        f"the cluster at {host} does not answer: {type(reason).__name__}: {kind}",
        code="Unreachable",
        fix="is it running, and is --context the right one?",
    )


def _reason(error: ApiException) -> str:
    return _message((error.body or "").encode() if isinstance(error.body, str) else error.body or b"") or str(
        error.reason
    )


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500]
