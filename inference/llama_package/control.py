"""The door for live reload: HTTP on this pod's loopback, under the paths of truss's own live reload server.

No other pod reaches it; a port-forward does, so that the right to forward ports of pods is the permission. As with
truss, a change that is not made is answered 200 with an `error` in the body.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llama_package.patches import INADMISSIBLE, PatchError
from llama_package.reload import Reloads
from llama_package.server import say
from llama_package.supervisor import Supervisor

LARGEST = 64 << 20  # bytes of a request
HOST = "127.0.0.1"


def serve(supervisor: Supervisor) -> ThreadingHTTPServer:
    """Listen, from now on, in a thread."""
    reloads = Reloads(supervisor)

    class Handler(Door):
        pass

    Handler.supervisor, Handler.reloads = supervisor, reloads
    server = ThreadingHTTPServer((HOST, supervisor.surroundings.control_port), Handler)
    threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
    say("live reload is open to port-forward", host=HOST, port=server.server_address[1])
    return server


class Door(BaseHTTPRequestHandler):
    """One request."""

    supervisor: Supervisor
    reloads: Reloads

    def do_GET(self) -> None:
        """Say what runs."""
        answers: dict[str, Any] = {
            "/control/truss_hash": {"result": self.supervisor.hash},
            # A change is made whole or not at all.
            "/control/has_partially_applied_patch": {"result": False},
            "/control/status": self.supervisor.told(),
        }
        found = answers.get(self.path)
        self._answer(404 if found is None else 200, found or {"detail": "Not Found"})

    def do_POST(self) -> None:
        """Change it, or start it anew."""
        if self.path == "/control/patch":
            self._attempt(lambda: {"msg": "Patch applied successfully", **self.reloads.apply(self._body())})
        elif self.path == "/control/restart_inference_server":
            self._attempt(self._restart)
        else:
            self._answer(404, {"detail": "Not Found"})

    def _restart(self) -> dict[str, Any]:
        self.reloads.restart()
        return {"msg": "Inference server started successfully", "hash": self.supervisor.hash}

    def _attempt(self, action: Any) -> None:  # noqa: ANN401 - a function without arguments
        try:
            self._answer(200, action())
        except PatchError as error:
            told = {"type": error.kind, "msg": str(error)}
            if error.failure:
                failure = self.supervisor.clean(error.failure, traceback=True)
                told["msg"] = f"{error}: {failure['type']}: {failure['message']}"
                told.update({"exception": failure["type"], **{k: failure[k] for k in ("file", "line", "traceback")}})
            say("the change is not made", kind=error.kind, detail=told["msg"])
            self._answer(200, {"error": told, "hash": self.supervisor.hash})
        except Exception as error:
            self._answer(500, {"error": {"type": "unknown", "msg": f"{type(error).__name__}: {error}"}})
            raise

    def _body(self) -> Any:  # noqa: ANN401 - any JSON
        length = int(self.headers.get("content-length") or 0)
        if length > LARGEST:
            raise PatchError(INADMISSIBLE, f"the request is above {LARGEST} bytes: push the package again")
        try:
            return json.loads(self.rfile.read(length))
        except ValueError as error:
            raise PatchError(INADMISSIBLE, f"this is no JSON: {error}") from error

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing of requests: what changes is said where it does."""
