"""The server as a real process, for tests: `llama-inference serve` on a free port of this machine."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import Any, Self

import httpx2

from tests.llama_inference.harness import PATIENCE_S, eventually

MODULE = ("-m", "llama_inference.cli")
MOCK = {"LLAMA_INFERENCE_BACKEND": "mock", "LLAMA_INFERENCE_DRAIN_NOTICE_SECONDS": "0"}


class Process:
    """`llama-inference serve` on a free port; its log is read as it is written."""

    def __init__(self, *command: str, **variables: str) -> None:
        environment = {"PATH": os.environ["PATH"], "LLAMA_INFERENCE_DRAIN_NOTICE_SECONDS": "0.1", **variables}
        self._process = subprocess.Popen(
            [sys.executable, *command, "serve", "--host", "127.0.0.1", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            self._queue.put(line)

    def __enter__(self) -> Self:
        self.url = self._address()
        self.client = httpx2.Client(base_url=self.url, timeout=PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _address(self) -> str:
        """The address in the log, since the port was chosen by the kernel."""
        while True:
            line = json.loads(self._queue.get(timeout=60))
            if line["message"] == "listening":
                return f"http://{line['host']}:{line['port']}"

    def ready(self, seconds: float = PATIENCE_S) -> Self:
        """Wait until it answers predict."""
        eventually(lambda: self.client.get("/readyz").status_code == 200, "ready", seconds)
        return self

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to this process."""
        self._process.send_signal(number)

    def exit_code(self, seconds: float = PATIENCE_S) -> int:
        """Wait for the end."""
        code = self._process.wait(seconds)
        self._reader.join()
        return code

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every line so far, each of which must be JSON."""
        return [json.loads(line) for line in self.lines]
