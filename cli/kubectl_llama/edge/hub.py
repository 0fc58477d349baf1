"""Ask a Hub about a model, from where the user is; one that is known within the cluster only, by a port-forward.

The token goes to the endpoint alone: it is dropped at a redirect to another host, and is in no message.
"""

from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests

from kubectl_llama.edge.kinds import POD, SERVICE
from kubectl_llama.edge.kube import Cluster, Object
from kubectl_llama.edge.line import Line
from kubectl_llama.errors import CliError
from llama_operator.plan import hub_answers, hub_shapes
from llama_operator.plan.survey import HubRefusal, ModelFact, Question

_SECONDS: Final = 10.0


class Hub:
    """A Hub, as whoever has the token."""

    def __init__(self, cluster: Cluster, endpoint: str, token: str | None) -> None:
        self._cluster, self._endpoint, self._token = cluster, endpoint.rstrip("/"), token
        self._service = _service(endpoint)

    def ask(self, question: Question) -> ModelFact | HubRefusal:
        """Return the facts of a model, or why there are none."""
        repo, revision = quote(question.repo), quote(question.revision, safe="")
        try:
            status, body = self._get(f"api/models/{repo}/revision/{revision}?blobs=true")
            if status != 200:
                return self._refusal(status)
            listing = hub_answers.read_listing(body)
            if (refusal := listing.refusal) is not None:
                return refusal
            status, body = self._get(f"{repo}/resolve/{listing.commit}/{hub_shapes.CONFIG}")
            if status != 200:
                return self._refusal(status)
            config = hub_answers.read_object(body, hub_shapes.CONFIG, listing.commit)
            return config if isinstance(config, HubRefusal) else hub_answers.fact(listing, config)
        except (requests.RequestException, HTTPException, OSError, CliError, ValueError) as error:
            # Of the error only its kind: its words may repeat a header.
            return HubRefusal(reason="HubUnreachable", words=type(error).__name__)

    def _refusal(self, status: int) -> HubRefusal:
        """Return what an answer means, as far as it matters at a desk; the operator tells more of them apart."""
        if status == 404:
            return HubRefusal(reason="RepositoryNotFound", words="no such repository or revision")
        if status in (401, 403) and self._token is None:
            return HubRefusal(reason="TokenMissing", words="its files are for accounts that were let in")
        if status == 401:
            return HubRefusal(reason="TokenRejected", words="the token is not valid")
        if status == 403:
            return HubRefusal(reason="AccessDenied", words="the account was not let in")
        return HubRefusal(reason="HubUnreachable", words=f"it answers with status {status}")

    def _get(self, path: str) -> tuple[int, bytes]:
        given = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers = {"Accept": "application/json", "User-Agent": "kubectl-llama", "Connection": "close", **given}
        return self._within(path, headers) if self._service else self._outside(path, headers)

    def _outside(self, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        with requests.Session() as session:
            session.auth = _as_given  # else a .netrc would stand in for the Secret
            answer = session.get(f"{self._endpoint}/{path}", headers=headers, timeout=_SECONDS)
            return answer.status_code, answer.content

    def _within(self, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        name, namespace, port = self._service or ("", "", 0)
        line = Line(self._cluster.forward(namespace, *_behind(self._cluster, name, namespace, port)), _SECONDS)
        try:
            line.request("GET", f"{urlsplit(self._endpoint).path}/{path}", headers=dict(headers))
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _service(endpoint: str) -> tuple[str, str, int] | None:
    """Return Service, namespace and port of an address that holds within a cluster only."""
    url = urlsplit(endpoint)
    parts = (url.hostname or "").split(".")
    if url.scheme != "http" or parts[2:3] != ["svc"] or parts[3:] not in ([], ["cluster", "local"]):
        return None
    return parts[0], parts[1], url.port or 80


def _behind(cluster: Cluster, name: str, namespace: str, port: int) -> tuple[str, int]:
    """Return a pod behind a Service, and the port of it.

    Raises:
        CliError: if there is none.
    """
    found: Object = (cluster.get(SERVICE, name, namespace) or {}).get("spec") or {}
    rows = [row for row in found.get("ports") or () if row["port"] == port]
    labels = ",".join(f"{key}={value}" for key, value in (found.get("selector") or {}).items())
    pods = cluster.list(POD, namespace, labels=labels) if labels else ()
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    if not (rows and running):
        raise CliError(f"nothing stands behind {name} in {namespace}")
    return running[0]["metadata"]["name"], _number(running[0], rows[0])


def _number(pod: Object, row: Mapping[str, Any]) -> int:
    target = row.get("targetPort", row["port"])
    if isinstance(target, int):
        return target
    ports = (port for box in pod["spec"]["containers"] for port in box.get("ports") or ())
    return next((port["containerPort"] for port in ports if port.get("name") == target), row["port"])
