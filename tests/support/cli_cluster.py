"""What `kubectl llama` asks of a cluster, in memory: objects, logs, and pods that answer HTTP over a socket."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any, cast

from kubectl_llama.edge.kinds import LLAMA, POD, Kind
from kubectl_llama.edge.kube import Object
from kubectl_llama.errors import CliError, NotFoundError
from llama_operator.names import API_VERSION, KIND

Handler = Callable[[BaseHTTPRequestHandler], None]


class MemoryCluster:
    """Objects by kind, namespace and name; `changes` is what was written, `asked` what models were asked."""

    def __init__(self) -> None:
        self.namespace = "default"
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.changes: list[tuple[str, str, Object]] = []
        self.logs: dict[str, list[str]] = {}
        self.answers: dict[str, Handler] = {}
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.looks: Callable[[], None] = lambda: None
        self.refuses: CliError | None = None

    def add(self, kind: Kind, obj: Object) -> None:
        """Put an object in."""
        metadata = obj["metadata"]
        key = (kind.plural, metadata.get("namespace", "default") if kind.namespaced else "", metadata["name"])
        self.objects[key] = obj

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return an object; each look at a LlamaDeployment lets `looks` change the world."""
        found = self.objects.get((kind.plural, namespace or "", name))
        if kind == LLAMA:
            self.looks()
        return found

    def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Sequence[Object]:
        """Return the objects with these labels."""
        wanted = dict(row.split("=") for row in labels.split(",") if row)
        return [
            obj
            for (plural, place, _), obj in sorted(self.objects.items(), key=lambda row: row[0])
            if plural == kind.plural
            and namespace in (None, place)
            and wanted.items() <= (obj["metadata"].get("labels") or {}).items()
        ]

    def apply(self, kind: Kind, obj: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Merge and store."""
        if self.refuses is not None and not force:
            raise self.refuses
        before = self.objects.get((kind.plural, obj["metadata"]["namespace"], obj["metadata"]["name"]), {})
        generation = before.get("metadata", {}).get("generation", 0) + 1
        applied = cast("dict[str, Any]", merged(before, obj))
        applied["metadata"] = {**applied["metadata"], "generation": generation}
        if not dry_run:
            self.add(kind, applied)
            self.changes.append(("apply", kind.plural, obj))
        return applied

    def patch(self, kind: Kind, name: str, namespace: str, change: Object) -> Object:
        """Merge."""
        found = self.objects.get((kind.plural, namespace, name))
        if found is None:
            raise NotFoundError(f"{kind.plural} {name} not found")
        patched = cast("Object", merged(found, change))
        self.add(kind, patched)
        self.changes.append(("patch", kind.plural, change))
        return patched

    def delete(self, kind: Kind, name: str, namespace: str) -> None:
        """Take an object out."""
        self.changes.append(("delete", kind.plural, self.objects.pop((kind.plural, namespace, name))))

    def log(self, namespace: str, pod: str, **query: str) -> Iterator[bytes]:
        """Yield the lines of a pod."""
        if pod not in self.logs:
            raise CliError(f"container of {pod} is waiting to start")
        rows = self.logs[pod]
        yield from (row.encode() for row in (rows[-int(query["tailLines"]) :] if "tailLines" in query else rows))

    def forward(self, namespace: str, pod: str, port: int) -> socket.socket:
        """Return a connection to a pod's server."""
        if pod not in self.answers:
            raise CliError(f"nothing listens in {pod}")
        ours, theirs = socket.socketpair()
        answer, asked = self.answers[pod], self.asked

        class Server(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer(self)
                self.close_connection = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append((self.path, dict(self.headers.items()), json.loads(body) if body[:1] == b"{" else body))
                answer(self)
                self.close_connection = True

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                pass

        def serve() -> None:
            Server(theirs, ("pod", port), None)  # pyright: ignore[reportArgumentType]  (it needs no server)
            theirs.close()

        Thread(target=serve, daemon=True).start()
        return ours


def merged(old: object, change: object) -> object:
    """Return a JSON merge patch applied."""
    if not isinstance(change, Mapping):
        return change
    rows = cast("Mapping[str, object]", change)
    kept = dict(cast("Mapping[str, object]", old)) if isinstance(old, Mapping) else {}
    for name, value in rows.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = merged(kept.get(name), value)
    return kept


def a_deployment(name: str = "llama", *, namespace: str = "default", **status: Any) -> dict[str, Any]:
    """A LlamaDeployment that serves; keyword arguments are fields of its status."""
    ready = {"type": "Available", "status": "True", "reason": "Serving", "message": "predict requests are answered"}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": 1,
            "creationTimestamp": "2026-11-29T08:00:00Z",
        },
        "spec": {"model": {"repo": "org/tiny"}},
        "status": {
            "observedGeneration": 1,
            "phase": "Ready",
            "ready": "1/1",
            "readyReplicas": 1,
            "url": f"http://{name}.{namespace}.svc/predict",
            "conditions": [ready],
            **status,
        },
    }


def a_pod(
    name: str = "llama-1", *, of: str = "llama", ready: bool = True, app: str = "llama-inference"
) -> dict[str, Any]:
    """A pod of a deployment."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": of},
        },
        "spec": {"containers": [{"name": "inference"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def serving(cluster: MemoryCluster, answer: Handler, name: str = "llama") -> None:
    """Add a deployment whose pod answers so."""
    cluster.add(LLAMA, a_deployment(name))
    cluster.add(POD, a_pod(f"{name}-1", of=name))
    cluster.answers[f"{name}-1"] = answer


def says(body: bytes, *, status: int = 200, kind: str = "application/json", **headers: str) -> Handler:
    """An answer as a whole."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def streams(*pieces: bytes, kind: str = "text/event-stream", ends: bool = True) -> Handler:
    """An answer in chunks; without its end it breaks off."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for piece in pieces:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if ends:
            request.wfile.write(b"0\r\n\r\n")

    return answer
