"""The operator as a process of its own, as a pod would run it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp.test_utils import unused_port

from tests.support.cluster import eventually

_COMMAND: Final = Path(sys.executable).with_name("llama-operator")
LEASE_SECONDS: Final = 5


class OperatorProcess:
    """One process of the operator; its log is a file in `folder`."""

    def __init__(self, folder: Path, kubeconfig: Path, lease_namespace: str, **settings: str) -> None:
        self.port = unused_port()
        self.log = folder / f"operator-{self.port}.log"
        values = {
            "LEASE_NAMESPACE": lease_namespace,
            "LEASE_DURATION_SECONDS": str(LEASE_SECONDS),
            "HEALTH_PORT": str(self.port),
            "LOG_LEVEL": "debug",
            "INFERENCE_IMAGE": "llama-inference:1",
            **settings,
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_OPERATOR_")}
        env |= {f"LLAMA_OPERATOR_{name}": value for name, value in values.items()}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [_COMMAND, "run"], env={**env, "KUBECONFIG": str(kubeconfig)}, stdout=log, stderr=log
            )

    @property
    def said(self) -> str:
        """Everything that it has logged."""
        return self.log.read_text()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of its log, as far as they are written to the end."""
        lines, _, _ = self.said.rpartition("\n")
        return [json.loads(line) for line in lines.splitlines() if line.startswith("{")]

    @property
    def messages(self) -> list[str]:
        """The messages of its log."""
        return [record["message"] for record in self.records]

    def state(self) -> str:
        """What /readyz says it is doing; empty before it answers."""
        try:
            return json.loads(self.read("/readyz"))["state"]
        except OSError:
            return ""

    def read(self, path: str) -> str:
        """Return the body of an answer, whatever its status."""
        return self.ask(path)[1]

    def ask(self, path: str) -> tuple[int, str]:
        """Return status and body of an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """Return the value of a metric, with its labels as it is written; 0 if it is not there."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.read("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def reaches(self, state: str, seconds: float = 30) -> "OperatorProcess":
        """Wait until it is doing this."""
        eventually(
            f"the operator is {state}", lambda: self._is(state), seconds=seconds, shows=lambda: self.said[-2000:]
        )
        return self

    def _is(self, state: str) -> bool:
        assert self.process.poll() is None, f"the operator has ended: {self.said[-2000:]}"
        return self.state() == state

    def stop(self) -> tuple[int, float]:
        """Ask it to end, as a kubelet does; return its exit code and how many seconds it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30), time.monotonic() - start

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.kill()


class Start(Protocol):
    """Starts a process of the operator, as its account unless another kubeconfig is given."""

    def __call__(self, *, kubeconfig: Path | None = None, **settings: str) -> OperatorProcess:
        """Return the process."""
        ...
