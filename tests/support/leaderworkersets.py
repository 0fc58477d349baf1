"""LeaderWorkerSet as a cluster has it: its kind, and its real controller, as a process on this machine."""

import base64
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp.test_utils import unused_port

from devcluster import leaderworkersets, pki
from devcluster.layout import Layout
from tests.support.cluster import eventually, kubeconfig
from tests.support.kubectl import kubectl, kubectl_ok
from tests.support.predict import Server
from tests.support.processes import running

DEFINITION: Final = "leaderworkersets.leaderworkerset.x-k8s.io"
_OURS: Final = {"matchExpressions": [{"key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists"}]}


@contextmanager
def leader_worker_sets(folder: Path) -> Generator[None]:
    """Install the kind and run its controller for as long as the block; `folder` holds its files and its log."""
    built = leaderworkersets.ensure(Layout.from_environment())
    ports = {"webhook": unused_port(), "health": unused_port()}
    authority = pki.authority()
    served = pki.issue(authority, pki.Identity("leaderworkersets"))
    (folder / "tls.crt").write_bytes(served.certificate_pem)
    (folder / "tls.key").write_bytes(served.key_pem)
    (folder / "config.yaml").write_text(yaml.safe_dump(_configuration(folder, ports)))
    webhooks = [
        _reached(row, ports["webhook"], authority.certificate_pem)
        for row in yaml.safe_load_all(built.webhooks.read_text())
    ]
    # Not applied: the definition is larger than what an annotation holds.
    kubectl_ok("apply", "--server-side", "--force-conflicts", "-f", str(built.definition))
    log = folder / "controller.log"
    try:
        eventually("the kind is served", lambda: kubectl("get", DEFINITION).returncode == 0)
        command = [str(built.program), f"--config={folder / 'config.yaml'}", f"--kubeconfig={kubeconfig()}"]
        with running(command, log), _installed(webhooks):
            eventually("the controller runs", lambda: _answers(ports["health"]), seconds=60, shows=log.read_text)
            yield
    finally:
        kubectl_ok("delete", "crd", DEFINITION, "--timeout=50s")


def _configuration(folder: Path, ports: dict[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": "127.0.0.1", "port": ports["webhook"], "certDir": str(folder)},
        "health": {"healthProbeBindAddress": f"127.0.0.1:{ports['health']}"},
        "metrics": {"bindAddress": "0"},
    }


def _reached(configuration: dict[str, Any], port: int, authority: bytes) -> dict[str, Any]:
    """The webhooks where this controller answers them, asked about pods of groups alone."""
    name = f"llama-test-{configuration['kind'].lower()}"
    hooks: list[dict[str, Any]] = []
    for hook in configuration["webhooks"]:
        path = hook["clientConfig"]["service"]["path"]
        client = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": base64.b64encode(authority).decode()}
        pods = {"objectSelector": _OURS} if path.endswith("-v1-pod") else {}
        hooks.append({**hook, **pods, "clientConfig": client})
    return {**configuration, "metadata": {"name": name}, "webhooks": hooks}


@contextmanager
def _installed(webhooks: list[dict[str, Any]]) -> Generator[None]:
    try:
        for webhook in webhooks:
            kubectl_ok("apply", "-f", "-", stdin=webhook)
        yield
    finally:
        for webhook in webhooks:
            kubectl("delete", webhook["kind"], webhook["metadata"]["name"], "--ignore-not-found")


def _answers(port: int) -> bool:
    try:
        return Server("127.0.0.1", port).get("/healthz")[0] == 200
    except OSError:
        return False
