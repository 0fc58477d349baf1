"""A real Prometheus beside the cluster, which reads the pods that a ServiceMonitor names.

Debian's package, unpacked and not installed: installing it would start a server. It is built without the part that
asks Kubernetes for pods, so that is done here, by the rules of the Prometheus Operator.
"""

import json
import re
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import yaml
from aiohttp.test_utils import unused_port

from devcluster.cache import build_once
from devcluster.commands import run
from devcluster.errors import CommandFailedError
from devcluster.layout import Layout
from devcluster.packages import update_lists
from tests.support.cluster import Namespace, eventually
from tests.support.predict import Server

PACKAGE: Final = "prometheus"
HINT: Final = "Debian's packages must be reachable: look at /etc/apt/sources.list*"


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._server = Server("127.0.0.1", port)

    def is_ready(self) -> bool:
        """Whether it answers questions: it listens before it has read its own data."""
        try:
            return self._server.get("/-/ready")[0] == 200
        except OSError:
            return False

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the samples that answer a question now.

        Raises:
            AssertionError: with Prometheus' own words, when it cannot be understood.
        """
        status, text = self._server.get(f"/api/v1/query?{urlencode({'query': query})}")
        assert status == 200, f"{query}: {text}"
        return json.loads(text)["data"]["result"]

    def value(self, query: str) -> float | None:
        """Return the one sample's number; None where there is no sample."""
        samples = self.ask(query)
        assert len(samples) < 2, samples
        return float(samples[0]["value"][1]) if samples else None


def programs() -> Path:
    """The folder with `prometheus` and `promtool`."""
    target = Layout.from_environment().cache / "prometheus"

    def build(partial: Path) -> None:
        download = ["apt-get", "download", PACKAGE]
        try:
            run(download, hint=HINT, cwd=partial)
        except CommandFailedError:
            update_lists()
            run(download, hint=HINT, cwd=partial)
        (archive,) = partial.glob("*.deb")
        run(["dpkg-deb", "--extract", str(archive), str(partial)], hint=HINT)
        archive.unlink()

    build_once(target, build)
    return target / "usr" / "bin"


def check_metrics(text: str) -> str:
    """Return what Prometheus' own linter has to say of a page of metrics; nothing when all is well."""
    done = subprocess.run(
        [programs() / "promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@contextmanager
def prometheus(folder: Path, space: Namespace, monitor: Mapping[str, Any]) -> Generator[Prometheus]:
    """Run one that reads what a ServiceMonitor names; `folder` holds its configuration, data and log."""
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(_configuration(space, monitor)))
    port = unused_port()
    command = [
        programs() / "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "prometheus.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            found = Prometheus(port)
            eventually("Prometheus answers", found.is_ready, shows=log.read_text)
            yield found
        finally:
            process.terminate()


def _targets(space: Namespace, monitor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the Prometheus Operator makes of a ServiceMonitor: its documentation has the rules.

    https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.ServiceMonitor
    """
    spec = monitor["spec"]
    (endpoint,) = spec["endpoints"]
    selector = ",".join(f"{key}={value}" for key, value in spec["selector"]["matchLabels"].items())
    found: list[dict[str, Any]] = []
    for service in space.list("services", selector):
        meta = service["metadata"]
        copied = {re.sub(r"\W", "_", key): meta["labels"][key] for key in spec.get("targetLabels", ())}
        for part in space.list("endpointslices", f"kubernetes.io/service-name={meta['name']}"):
            ports = [row["port"] for row in part["ports"] if row["name"] == endpoint["port"]]
            for end in part.get("endpoints") or ():
                labels = {"namespace": space.name, "service": meta["name"], "pod": end["targetRef"]["name"], **copied}
                targets = [f"{address}:{port}" for address in end["addresses"] for port in ports]
                found.append({"targets": targets, "labels": labels})
    return found


def _configuration(space: Namespace, monitor: Mapping[str, Any]) -> dict[str, Any]:
    (endpoint,) = monitor["spec"]["endpoints"]
    job = {
        "job_name": "monitored",
        "metrics_path": endpoint["path"],
        "scrape_interval": "1s",  # the monitor's own is for clusters that live longer
        "static_configs": _targets(space, monitor),
    }
    return {"scrape_configs": [job]}
