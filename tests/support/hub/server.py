"""The HTTP server: sockets in, the pages of `routes` and `control` out, faults in between."""

import contextlib
import socket
import threading
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import control, routes
from .faults import Fault
from .state import Hub
from .transfer import Transfer, hold
from .wire import Reply, Request, Slice


class _Server(ThreadingHTTPServer):
    """One thread a connection; knows its open connections, so that stopping does not wait for idle ones."""

    # So that closing joins them, once their connections are shut: nothing outlives the server.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], hub: Hub) -> None:
        self.hub = hub
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """End all connections and close."""
        self.shutdown()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hub"
    # Headers and body are two writes: else the second would wait until the client acknowledged the first.
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] - no other server uses this handler

    def handle(self) -> None:
        # A client that hangs up is what these tests are about, not an error of the server.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Stay silent: the journal tells, and knows no token."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request.read(self.command, self.path, dict(self.headers.items()), body)
        hub = self.server.hub
        if request.parts[0] == control.PREFIX:
            self._send(control.answer(hub, request), [])
            return
        repo, file = routes.target(hub, request.parts)
        caller = hub.tokens.caller(request.headers.get("authorization"))
        number = hub.journal.begin(
            method=request.method,
            host=request.headers.get("host", ""),
            path=request.path,
            query=request.query,
            repo=repo,
            file=file,
            range=request.headers.get("range"),
            token_given=caller.token_given,
            account=caller.account,
        )
        try:
            self._misbehave(number, request, repo, file)
        finally:
            hub.journal.update(number, finished=True)

    do_GET = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 - the names that the library calls

    def _misbehave(self, number: int, request: Request, repo: str, file: str) -> None:
        """Answer a request of the Hub, or do what the faults say instead."""
        hub, reply = self.server.hub, routes.answer(self.server.hub, request)
        # A refusal, a redirect or the answer to a HEAD is no transfer: it does not use up the faults of one.
        body = request.method == "GET" and isinstance(reply.body, Slice)
        faults = {fault.kind: fault for fault in hub.faults.take(repo, file, body=body)}
        if hang := faults.get("hang"):
            hold(self.connection, hang)
        if "ignore_range" in faults:
            reply = routes.answer(hub, replace(request, headers=dict(request.headers) | {"range": ""}))
        if error := faults.get("error"):
            reply = Reply(
                HTTPStatus(error.status),
                {"Content-Type": "text/plain", **error.headers},
                b"the test Hub was told to fail",
            )
        hub.journal.update(number, status=reply.status.value)
        self._send(reply, list(faults.values()) if isinstance(reply.body, Slice) else [], number)

    def _send(self, reply: Reply, faults: list[Fault], number: int = 0) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(reply.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        journal = self.server.hub.journal
        transfer = Transfer(self.connection, faults, lambda sent: journal.update(number, sent=sent))
        if not transfer.send(reply.body):
            self.close_connection = True


class HubServer(Hub):
    """A Hub that listens, in threads of this process.

    ```python
    with HubServer(models_dir) as hub:
        hub.add_repo("meta-llama/Llama-tiny", tiny_llama_dir(), gated="manual")
        hub.tokens.add("hf_reader", account="alice", grants=["meta-llama/Llama-tiny"])
        hub.fault("cut", file="*.safetensors", after=1000, times=1)
        snapshot_download("meta-llama/Llama-tiny", endpoint=hub.url, token="hf_reader")
        assert [request.sent for request in hub.requests if request.method == "GET"][-2:] == [1000, 400_000]
    ```

    Args:
        models_dir: folder that relative paths start from.
        host: address to listen on.
        port: 0 for any free one; after a `stop`, the same one is taken again by `start`.
        cdn: redirect as huggingface.co does: LFS files to its CDN (here under the host name `localhost`), others to its
            cache.
    """

    def __init__(
        self, models_dir: Path | None = None, *, host: str = "127.0.0.1", port: int = 0, cdn: bool = False
    ) -> None:
        super().__init__(models_dir)
        self.host = host
        self.port = port
        self._cdn = cdn
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The endpoint, to be given to the client."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen and serve."""
        self._server = _Server((self.host, self.port), self)
        self.port = self._server.server_address[1]
        if self._cdn:
            self.cdn_url = f"http://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="hub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Drop all connections and close the port: from now on the Hub cannot be reached."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._server = None

    def wait(self) -> None:
        """Serve until the thread ends, that is until `stop`."""
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
