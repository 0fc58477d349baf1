"""The edge to the API server: which refusal is which exit code, and how a cluster is found."""

import socket
from pathlib import Path

import pytest
import yaml

from kubectl_llama.edge.kinds import LLAMA
from kubectl_llama.edge.kube import connect, refusal
from kubectl_llama.main import run
from tests.support.cluster import write_kubeconfig


@pytest.mark.parametrize(
    ("status", "message", "code", "word"),
    [
        (401, "Unauthorized", 7, "Forbidden"),
        (403, "may not list", 7, "Forbidden"),
        (404, "the server could not find the requested resource", 7, "NotInstalled"),
        (404, 'llamadeployments "x" not found', 3, "NotFound"),
        (409, "conflict with", 1, "Conflict"),
        (422, "spec.replicas: too many", 1, "Invalid"),
        (500, "etcd is away", 1, "Failed"),
    ],
)
def test_each_refusal_has_its_exit_code(status: int, message: str, code: int, word: str) -> None:
    """7: no rights or nothing installed; 3: no such object; 1: it was tried."""
    error = refusal(status, message, LLAMA.path("default", "x"))
    assert (error.exit_code, error.code) == (code, word)


def kubeconfig(path: Path, **context: str) -> Path:
    """A kubeconfig whose server does not answer; its context may name a namespace."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    write_kubeconfig(path, "t0ken-of-nobody", {"server": f"http://127.0.0.1:{port}"})
    config = yaml.safe_load(path.read_text())
    config["contexts"][0]["context"] |= context
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_cluster_that_does_not_answer_ends_with_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The address is named, the token is not."""
    file = kubeconfig(tmp_path / "config")
    assert run(["list", "--kubeconfig", str(file), "-o", "json"]) == 7
    seen = capsys.readouterr()
    assert "http://127.0.0.1" in seen.out
    assert "Unreachable" in seen.out
    assert "t0ken" not in seen.out + seen.err


def test_no_kubeconfig_ends_with_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to set."""
    assert run(["list", "--kubeconfig", str(tmp_path / "none")]) == 7
    assert "KUBECONFIG" in capsys.readouterr().err


def test_the_contexts_namespace_counts(tmp_path: Path) -> None:
    """As with kubectl."""
    assert connect({"kubeconfig": str(kubeconfig(tmp_path / "a", namespace="team"))}).namespace == "team"
    assert connect({"kubeconfig": str(kubeconfig(tmp_path / "b"))}).namespace == "default"


def test_a_context_that_does_not_exist_ends_with_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name is in the message."""
    file = kubeconfig(tmp_path / "config")
    assert run(["list", "--kubeconfig", str(file), "--context", "nowhere"]) == 7
    assert "nowhere" in capsys.readouterr().err
