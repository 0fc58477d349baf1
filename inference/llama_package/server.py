"""One process of the genuine truss server: started by the launcher, watched, asked, stopped with what it started."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

LAUNCHER = Path(__file__).with_name("launcher.py")
LOADED = "/v1/models/model/loaded"
READY = "/v1/models/model"
CRASH_LINES = 40
DRAIN_S = 2.0  # for what a process has said before it ended; the pipe may be held by one that left its group
STARTING, LOADING, SERVING, FAILED, ENDED = "starting", "loading", "serving", "failed", "ended"


class Server:
    """A server process. `state` goes from starting over loading to serving, failed or ended; `settled` is set then."""

    def __init__(
        self,
        number: int,
        *,
        python: str,
        app: Path,
        run: Path,
        environment: Mapping[str, str],
        changed: Callable[[], None],
    ) -> None:
        """Start it in the folder `app`; `changed` is called, from other threads, whenever its state changes."""
        self.socket = run / f"server-{number}.sock"
        self.state = STARTING
        self.failure: dict[str, Any] | None = None
        self.config: dict[str, Any] = {}
        self.serving_since = 0.0
        self.began = time.monotonic()
        self.settled = threading.Event()
        self._changed = changed
        self._failed = threading.Condition()
        self._crash: list[str] = []
        self._stopped = False
        if self.socket.exists():
            self.socket.unlink()
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [python, str(LAUNCHER), str(self.socket), str(writing)],
            cwd=str(app),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            pass_fds=(writing,),
            start_new_session=True,  # a group of its own, with whatever it starts
        )
        os.close(writing)
        self._events = os.fdopen(reading, "r", encoding="utf-8", errors="replace")
        self._watching = threading.Thread(target=self._watch, name="server's events", daemon=True)
        self._watching.start()
        threading.Thread(target=self._await_end, name="server's end", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.state != ENDED

    def _watch(self) -> None:
        with self._events as events:
            for line in events:
                event = event_in(line)
                if event is None:
                    self._crash = [*self._crash, line.rstrip()][-CRASH_LINES:]
                else:
                    self._take(event)

    def _await_end(self) -> None:
        """Tell the end of the process itself: what it has started may hold the pipe open for ever."""
        pid = self._process.pid
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self._kill(signal.SIGKILL)  # not collected yet: the number is its own
        code = self._process.wait()
        self._watching.join(DRAIN_S)
        self._ended(code)

    def _take(self, event: dict[str, Any]) -> None:
        name = event.pop("event")
        if name == "loading":
            self.config = event.get("config") or {}
            self._become(LOADING)
        elif name == "loaded":
            threading.Thread(target=self._await_answers, name="server's first answer", daemon=True).start()
        elif name == "failed":
            with self._failed:
                self.failure = event
                self._failed.notify_all()
            if self.state != SERVING:  # else it was a hot reload
                self._become(FAILED)

    def _await_answers(self) -> None:
        while self.alive and not self._stopped:
            if self.ask("GET", LOADED, 5.0)[0] == 200:
                self.serving_since = time.monotonic()
                self._become(SERVING)
                return
            time.sleep(0.02)

    def _become(self, state: str) -> None:
        self.state = state
        if state in (SERVING, FAILED, ENDED):
            self.settled.set()
        self._changed()

    def _ended(self, code: int) -> None:
        if self.failure is None or self.state == SERVING:
            self.failure = died(code, self._crash, loading=self.state != SERVING)
        self._become(ENDED)

    def ask(self, method: str, path: str, seconds: float) -> tuple[int, str]:
        """One request over its socket: status and body; status 0 where there is no answer."""
        connection = _UnixConnection(self.socket, seconds)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def hot_reload(self) -> dict[str, Any] | None:
        """Swap the model's class; return what went wrong, as a failure, or None."""
        with self._failed:
            self.failure = None
        status, body = self.ask("POST", "/hot-reload", 300.0)
        if status == 200:
            return None
        with self._failed:
            self._failed.wait_for(lambda: self.failure is not None, 5.0)
            return self.failure or {"kind": "load", "type": "HotReload", "message": body, "traceback": body}

    def stop(self, grace: float) -> None:
        """End it and all that it started: requests under way may finish within `grace` seconds."""
        self._stopped = True
        if not self.alive:
            self._kill(signal.SIGKILL)  # what it started may have outlived it
            return
        self._kill(signal.SIGTERM)
        until = time.monotonic() + grace
        while self.alive and time.monotonic() < until:
            time.sleep(0.02)
        self._kill(signal.SIGKILL)

    def _kill(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket in the file system."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def event_in(line: str) -> dict[str, Any] | None:
    """The event in a line; None of what faulthandler wrote, or a crash has cut short."""
    try:
        return json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None


def died(code: int, crash: list[str], *, loading: bool) -> dict[str, Any]:
    """What is reported of a process that ended without saying why."""
    when = "while the package loaded" if loading else "while it served"
    if code < 0:
        name = signal.Signals(-code).name
        why = f"the process was ended by {name} {when}"
        if name == "SIGKILL":
            why += ", most likely for want of memory"
    else:
        why = f"the process ended with exit code {code} {when}"
    file, line = place_of(crash)
    text = "\n".join(crash)
    return {"kind": "load", "type": "ProcessEnded", "message": why, "file": file, "line": line, "traceback": text}


def place_of(crash: list[str]) -> tuple[str | None, int | None]:
    """File and line of the package's innermost frame in what faulthandler wrote, the most recent call first."""
    for text in crash:
        head, found, rest = text.strip().partition('File "/')
        path, comma, number = rest.partition('", line ')
        digits = number.split(" ")[0]
        if found and comma and not head and "site-packages" not in path and digits.isdigit():
            for root in ("app/", "packages/"):
                if path.startswith(root):
                    return path[4:] if root == "app/" else path, int(digits)
    return None, None


def reap_orphans(own: set[int]) -> None:
    """Collect ended processes whose parents have gone: as the container's first process this one inherits them."""
    while os.getpid() == 1:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in own:
            return
        os.waitpid(found.si_pid, 0)


def say(message: str, **fields: object) -> None:
    """One line of the supervisor's own log, in JSON as the server's are."""
    line = {"asctime": time.strftime("%Y-%m-%d %H:%M:%S"), "levelname": "INFO", "message": message, **fields}
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()
