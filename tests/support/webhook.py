"""An admission webhook as a cluster may have one: asked by the real API server, over TLS, for one namespace.

It mutates what it is shown (JSON patch), refuses it, fails, or does not answer, as a test says.
"""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from devcluster import pki
from tests.support.cluster import Namespace
from tests.support.kubectl import kubectl_ok

NAME = "policy.acme.example"
Patch = list[dict[str, Any]]
Change = Callable[[dict[str, Any]], Patch]


@dataclass
class Webhook:
    """What it does: `change` returns an object's patch, a `status` other than 200 is a fault, `denies` a reason."""

    change: Change = lambda _: []
    status: int = 200
    denies: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def answer(self, review: dict[str, Any]) -> dict[str, Any]:
        """Return the AdmissionReview that answers one."""
        request = review["request"]
        self.asked.append(request["object"])
        response: dict[str, Any] = {"uid": request["uid"], "allowed": not self.denies}
        if self.denies:
            response["status"] = {"message": self.denies}
        elif patch := self.change(request["object"]):
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        return {**review, "response": response}


@contextmanager
def webhook(space: Namespace, folder: Path, kind: str = "deployments") -> Generator[Webhook]:
    """Have the API server ask before it writes objects of a kind of apps/v1 in a namespace."""
    found = Webhook()
    ca = pki.authority()
    with _serving(found, pki.issue(ca, pki.Identity("webhook")), folder) as port:
        rule = {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "resources": [kind],
            "operations": ["CREATE", "UPDATE"],
        }
        row = {
            "name": NAME,
            "clientConfig": {
                "url": f"https://127.0.0.1:{port}/",
                "caBundle": base64.b64encode(ca.certificate_pem).decode(),
            },
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 2,
        }
        api = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
        kubectl_ok("apply", "-f", "-", stdin={**api, "metadata": {"name": space.name}, "webhooks": [row]})
        try:
            yield found
        finally:
            kubectl_ok("delete", "mutatingwebhookconfiguration", space.name)


@contextmanager
def _serving(webhook: Webhook, pair: pki.Pair, folder: Path) -> Generator[int]:
    class Handler(BaseHTTPRequestHandler):
        """Answers as the webhook says."""

        def do_POST(self) -> None:
            """Answer one AdmissionReview."""
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(webhook.answer(review)).encode() if webhook.status == 200 else b"out of order"
            self.send_response(webhook.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    certificate, key = folder / "webhook.crt", folder / "webhook.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
