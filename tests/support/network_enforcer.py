"""Who enforces NetworkPolicies on the development cluster, whose own network does not: kube-router, for a while.

Its firewall alone runs here, as a process on this machine: packets between pods cross a bridge, and the kernel shows
them to the packet filter. What it leaves there is taken out again.
"""

import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aiohttp.test_utils import unused_port

from devcluster import binaries, packages
from devcluster.layout import NODE, SERVICE_CIDR, Layout
from tests.support.cluster import eventually, kubeconfig
from tests.support.predict import Server
from tests.support.processes import running

_NEEDS: Final = {"ipset": "ipset"}
_CHAIN: Final = re.compile(r"^:(KUBE-(?:ROUTER|NWPLCY|POD-FW)-\S+) ", re.MULTILINE)
_JUMP: Final = re.compile(r"^-A ((?:INPUT|FORWARD|OUTPUT) .*-j KUBE-ROUTER-\S+.*)$", re.MULTILINE)
_SET: Final = re.compile(r"^(?:inet6:)?KUBE-(?:SRC|DST)-\S+$", re.MULTILINE)


@contextmanager
def network_enforcer(folder: Path) -> Generator[None]:
    """Have NetworkPolicies enforced for as long as the block; `folder` holds the log."""
    packages.ensure(_NEEDS)
    program = binaries.ensure_one(Layout.from_environment(), "kube-router")
    health, log = unused_port(), folder / "kube-router.log"
    command = [
        str(program),
        f"--kubeconfig={kubeconfig()}",
        f"--hostname-override={NODE}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        "--enable-cni=false",
        f"--health-port={health}",
    ]
    try:
        with running(command, log):
            eventually("it enforces", lambda: _enforces(health), seconds=60, shows=log.read_text)
            yield
    finally:
        _take_out()


def _enforces(port: int) -> bool:
    try:
        return Server("127.0.0.1", port).get("/healthz")[0] == 200 and bool(_CHAIN.search(_saved()))
    except OSError:
        return False


def _saved() -> str:
    return subprocess.run(["iptables-save", "-t", "filter"], check=True, capture_output=True, text=True).stdout


def _take_out() -> None:
    """Remove its chains, in one step, and the sets that they name."""
    saved = _saved()
    chains = _CHAIN.findall(saved)
    lines = ["*filter", *(f"-D {jump}" for jump in _JUMP.findall(saved))]
    lines += [f"{verb} {chain}" for verb in ("-F", "-X") for chain in chains]
    subprocess.run(["iptables-restore", "--noflush"], input="\n".join([*lines, "COMMIT", ""]), check=True, text=True)
    names = subprocess.run(["ipset", "list", "-name"], check=True, capture_output=True, text=True).stdout
    for name in _SET.findall(names):
        subprocess.run(["ipset", "destroy", name], check=True)
