"""Replays cases against a base URL, and notes the answers as `observed.json` has them: chunk by chunk."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.truss.cases import PREDICT, Ask, Case, get

KEPT: Final = (
    "content-type",
    "transfer-encoding",
    "x-baseten-error-source",
    "x-baseten-error-code",
    "retry-after",
    "x-mine",
    "allow",
)
TIMEOUT_S: Final = 60.0
STARTING: Final = {
    "/": get("/"),
    "ready": get("/v1/models/model"),
    "loaded": get("/v1/models/model/loaded"),
    "schema": get("/v1/models/model/schema"),
    "predict": Ask({}),
}


def replay(case: Case, base_url: str, predict_path: str = PREDICT) -> Any:
    """The answer, or the answers where there are several requests."""
    begun = time.monotonic()
    answers = _talk(case, base_url) if case.kind == "websocket" else _ask_all(case, base_url, predict_path)
    return {"answers": answers, "about_seconds": round(time.monotonic() - begun, 1)} if case.timed else answers


def ask(base_url: str, what: Ask, predict_path: str = PREDICT) -> dict[str, Any]:
    """One answer."""
    time.sleep(what.wait)
    url = urlsplit(base_url)
    path = what.path.replace(PREDICT, predict_path, 1)
    body = what.payload()
    headers = {
        "Host": url.netloc,
        "Connection": "close",
        "Content-Length": str(len(body)),
        "Content-Type": "application/json",
        **what.headers,
    }
    head = [f"{what.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value)]
    with closing(socket.create_connection((str(url.hostname), url.port or 80), TIMEOUT_S)) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        if what.hang_up is not None:
            time.sleep(what.hang_up)
            return {"hung_up_after": what.hang_up}
        return _Received(connection).answer()


class _Received:
    """An answer as it comes, with the chunks as they were sent."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def answer(self) -> dict[str, Any]:
        with self._file:
            status = int(self._file.readline().split()[1])
            headers: dict[str, str] = {}
            while line := self._file.readline().strip():
                name, value = line.decode("latin-1").split(":", 1)
                headers[name.strip().lower()] = value.strip()
            kept = {name: headers[name] for name in KEPT if name in headers}
            answer: dict[str, Any] = {"status": status, "headers": kept}
            if headers.get("transfer-encoding") == "chunked":
                pieces, whole = self._chunks()
                answer["pieces"] = [shown(piece, "text/plain") for piece in pieces]
                return answer if whole else {**answer, "broken_off": True}
            length = headers.get("content-length")
            body = self._file.read(int(length)) if length is not None else self._file.read()
            return {**answer, "body": shown(body, headers.get("content-type", ""))}

    def _chunks(self) -> tuple[list[bytes], bool]:
        pieces: list[bytes] = []
        while line := self._file.readline():
            size = int(line.split(b";")[0], 16)
            piece = self._file.read(size)
            self._file.readline()
            if size == 0:
                return pieces, True
            pieces.append(piece)
        return pieces, False


def shown(body: bytes, content_type: str) -> dict[str, Any]:
    """A body as JSON can hold it."""
    if content_type.startswith("application/json"):
        with suppress(ValueError):
            return {"json": json.loads(body), "raw": body.decode()} if len(body) < 400 else {"json": json.loads(body)}
    try:
        return {"text": body.decode()} if len(body) < 4000 else {"text_length": len(body)}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _ask_all(case: Case, base_url: str, predict_path: str) -> Any:
    if case.at_once == 1:
        answers = [ask(base_url, what, predict_path) for what in case.asks]
        return answers[0] if len(answers) == 1 else answers
    found: list[dict[str, Any]] = []
    asking = [
        threading.Thread(target=lambda: found.append(ask(base_url, case.asks[0], predict_path)))
        for _ in range(case.at_once)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    return sorted(found, key=lambda answer: json.dumps(answer, sort_keys=True))


def _talk(case: Case, base_url: str) -> list[Any]:
    got: list[Any] = []
    with connect(base_url.replace("http", "ws", 1) + "/v1/websocket", open_timeout=TIMEOUT_S) as talk:
        for message in case.messages:
            with suppress(ConnectionClosed):
                talk.send(message)
            try:
                got.append(talk.recv(timeout=TIMEOUT_S))
            except ConnectionClosed as closed:
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (None, None)
                return [*got, {"closed": code, "reason": reason}]
    return got


def starting(base_url: str, ended: Callable[[], bool]) -> dict[str, list[dict[str, Any]]]:
    """Each different answer of each route, in order, until it is `ended` and once more."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in STARTING}
    last = False
    while True:
        for name, what in STARTING.items():
            answer = ask(base_url, what)
            if not seen[name] or seen[name][-1] != answer:
                seen[name].append(answer)
        if last:
            return seen
        last = ended()
        time.sleep(0.05)
