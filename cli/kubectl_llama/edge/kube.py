"""The only place that speaks to the API server; its refusals become our errors.

Over the official client, which knows kubeconfigs, credential plugins and proxies. Objects stay raw dictionaries.
"""

import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, cast
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from kubectl_llama.edge.kinds import LLAMA, POD, Kind
from kubectl_llama.errors import CliError, ClusterError, NotFoundError, UsageError

Object = Mapping[str, Any]
MANAGER: Final = "kubectl-llama"
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
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

    def __init__(self, api: client.ApiClient, namespace: str, timeout: float | None, *, impersonates: bool) -> None:
        self.namespace = namespace
        self._api = api
        self._timeout = timeout
        self._impersonates = impersonates

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return an object; None if there is none."""
        try:
            return json.loads(self._ask("GET", kind.path(namespace, name)).data)
        except NotFoundError:
            return None

    def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Sequence[Object]:
        """Return the objects that the selectors name."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        found = json.loads(self._ask("GET", kind.path(namespace), query=query).data)
        # The items of a list leave out what they are.
        what = {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List")}
        return [{**what, **item} for item in found["items"]]

    def apply(self, kind: Kind, obj: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Create an object or change the fields that it names, by server-side apply."""
        metadata = obj["metadata"]
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        query |= {"force": "true"} if force else {}
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return json.loads(self._ask("PATCH", path, query=query, body=obj, form="application/apply-patch+yaml").data)

    def patch(self, kind: Kind, name: str, namespace: str, change: Object) -> Object:
        """Merge `change` onto an object."""
        path, query = kind.path(namespace, name), {"fieldManager": MANAGER}
        return json.loads(self._ask("PATCH", path, query=query, body=change, form="application/merge-patch+json").data)

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

        if self._impersonates:
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
        try:
            answer = self._api.rest_client.pool_manager.request(
                method,
                f"{host}{path}" + (f"?{asked}" if asked else ""),
                body=None if body is None else json.dumps(body),
                headers={**self._api.default_headers, **headers},
                timeout=None if waits else self._timeout,
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


def connect(flags: Mapping[str, Any]) -> KubeCluster:
    """Return the cluster that the flags name, as kubectl would find it; nothing is asked yet.

    Raises:
        ClusterError: if no kubeconfig names one.
    """
    settings = client.Configuration()
    file, context = flags.get("kubeconfig"), flags.get("context")
    try:
        config.load_kube_config(config_file=file, context=context, client_configuration=settings)
        namespace = _namespace(file, context)
    except (config.ConfigException, OSError, TypeError) as error:
        if file or context or not _within(settings):
            raise ClusterError(
                f"no cluster is configured: {error}",
                code="NoKubeconfig",
                fix="set KUBECONFIG, or name one with --kubeconfig",
            ) from None
        namespace = _own_namespace()
    settings.retries = urllib3.Retry(total=2, connect=1, read=False, redirect=False, status=False)  # type: ignore[assignment]
    api = client.ApiClient(settings)
    user, groups = flags.get("as_user"), flags.get("as_group") or ()
    if user:
        api.set_default_header("Impersonate-User", user)
    if groups:
        api.set_default_header("Impersonate-Group", groups[0])
    asked = flags.get("request_timeout")
    timeout = seconds(str(asked), "--request-timeout") if asked else None
    return KubeCluster(api, namespace, timeout or None, impersonates=bool(user or groups))


def _namespace(file: str | None, context: str | None) -> str:
    contexts, active = cast("tuple[list[Object], Object]", config.list_kube_config_contexts(config_file=file))
    chosen = next((row for row in contexts if row["name"] == context), active)
    return str((chosen.get("context") or {}).get("namespace") or "default")


_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


def _within(settings: client.Configuration) -> bool:
    """Whether this runs in a pod, whose account is then used, as kubectl does."""
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        return False
    return True


def _own_namespace() -> str:
    from pathlib import Path  # noqa: PLC0415

    return Path(_ACCOUNT).read_text().strip()
