"""The command over a cluster in memory: what it prints, what it writes, its exit code."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kubectl_llama.main import run
from kubectl_llama.options import State
from tests.support.cli_cluster import MemoryCluster


@dataclass(frozen=True, slots=True)
class Done:
    """What a command has done."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def cluster() -> MemoryCluster:
    """A cluster in memory, empty."""
    return MemoryCluster()


@pytest.fixture
def cli(cluster: MemoryCluster, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with that cluster; nothing of the machine's own configuration counts."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")

    def invoke(*args: str) -> Done:
        code = run(args, State(cluster=cluster))
        seen = capsysbinary.readouterr()
        return Done(code, seen.out.decode(), seen.err.decode())

    return invoke
