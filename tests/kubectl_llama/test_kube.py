"""The edge to the API server: which refusal is which exit code, and how a cluster is found."""

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
import urllib3
import yaml

from kubectl_llama.edge.kinds import LLAMA
from kubectl_llama.edge.kube import refusal
from kubectl_llama.edge.kubeconfig import connect
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


def test_a_kubeconfig_that_is_no_yaml_ends_with_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the line, and without what stands there: it may be a token."""
    file = tmp_path / "config"
    file.write_text("kind: Config\ntoken: [t0ken\n")
    assert run(["list", "--kubeconfig", str(file)]) == 7
    said = capsys.readouterr().err
    assert "no YAML in line" in said
    assert "t0ken" not in said


@pytest.mark.parametrize("text", ["words", "[1]", "{users: 1, contexts: 2, clusters: 3}"])
def test_a_kubeconfig_of_another_form_ends_with_7(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Whatever it holds."""
    file = tmp_path / "config"
    file.write_text(text)
    assert run(["list", "--kubeconfig", str(file)]) == 7
    assert "error: " in capsys.readouterr().err


class Server(ThreadingHTTPServer):
    """Answers each request with the same body; `asked` has the headers of each."""

    body = b""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(BaseHTTPRequestHandler):
    """What it says."""

    def do_GET(self) -> None:
        """Say the same as ever."""
        server = cast("Server", self.server)
        server.asked.append(self.headers.items())
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on this machine."""
    with Server() as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def config_of(server: Server, tmp_path: Path, **user: Any) -> str:
    """A kubeconfig that names it."""
    file = tmp_path / "config"
    write_kubeconfig(file, "t0ken", {"server": f"http://127.0.0.1:{server.server_port}"})
    if user:
        config = yaml.safe_load(file.read_text())
        config["users"][0]["user"] = user
        file.write_text(yaml.safe_dump(config))
    return str(file)


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"{}", b"[]"])
def test_an_answer_that_is_no_object_ends_with_7(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    """A login page in front of the API server says 200 too."""
    server.body = body
    for verb in (["list"], ["status", "x"]):
        assert run([*verb, "--kubeconfig", config_of(server, tmp_path)]) == 7
        assert "no Kubernetes object" in capsys.readouterr().err


def test_every_group_is_sent(server: Server, tmp_path: Path) -> None:
    """As kubectl sends them: one header each."""
    server.body = json.dumps({"apiVersion": "v1", "kind": "List", "items": []}).encode()
    who = ("--as", "me", "--as-group", "a", "--as-group", "b")
    assert run(["list", *who, "--kubeconfig", config_of(server, tmp_path)]) == 0
    (sent,) = server.asked
    assert [row for row in sent if row[0].startswith("Impersonate")] == [
        ("Impersonate-User", "me"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
    ]


def test_a_credential_plugin_that_fails_ends_with_7(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its own words; nothing is asked as nobody."""
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", "echo gone >&2; exit 3"]}
    assert run(["list", "--kubeconfig", config_of(server, tmp_path, exec=plugin)]) == 7
    said = capfd.readouterr().err
    assert said.startswith("error: the credentials")
    assert "gone" in said
    assert server.asked == []


@pytest.mark.parametrize(
    ("flags", "read"), [((), 60), (("--request-timeout", "5s"), 5), (("--request-timeout", "0"), None)]
)
def test_a_request_has_a_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], read: float | None
) -> None:
    """A server that says nothing holds no command for ever, unless that is asked for."""
    server.body = json.dumps({"apiVersion": "v1", "kind": "List", "items": []}).encode()
    seen: list[Any] = []
    urlopen = urllib3.HTTPConnectionPool.urlopen

    def spied(pool: urllib3.HTTPConnectionPool, *args: Any, **how: Any) -> Any:
        seen.append(how["timeout"])
        return urlopen(pool, *args, **how)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", spied)
    assert run(["list", *flags, "--kubeconfig", config_of(server, tmp_path)]) == 0
    (timeout,) = seen
    assert (timeout.read_timeout if isinstance(timeout, urllib3.Timeout) else timeout) == read
