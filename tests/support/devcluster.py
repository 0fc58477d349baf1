"""The development cluster as what it is made of: processes to kill, files to damage, and the command that mends it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster import containerd, processes
from devcluster.layout import BUSYBOX_IMAGE, Layout
from tests.support.cluster import Namespace, eventually
from tests.support.kubectl import kubectl

LAYOUT = Layout.from_environment()
COMMAND = Path(sys.executable).with_name("devcluster")
DATA_PLANE = ("containerd", "kubelet", "kube-proxy", "coredns", "fake-gpu-plugin", "local-path-provisioner")
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
EVERYTHING = (*CONTROL_PLANE, *DATA_PLANE)
KEEPER = "keeper"


def devcluster(*args: str) -> str:
    """Run devcluster and return what it prints, progress and all.

    Raises:
        AssertionError: It failed.
    """
    done = subprocess.run([COMMAND, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def up() -> str:
    """Mend the cluster, and see that it is healthy."""
    printed = devcluster("up")
    devcluster("status")
    return printed


def pid(name: str) -> int:
    """The id of one of the cluster's processes."""
    record = processes.read(LAYOUT.processes / name)
    assert record is not None, f"no record of {name}"
    return record.pid


def pids() -> dict[str, int]:
    """The id of each."""
    return {name: pid(name) for name in EVERYTHING}


def kill(*names: str) -> None:
    """End processes of the cluster without a word."""
    for name in names:
        record = processes.read(LAYOUT.processes / name)
        assert record is not None, f"no record of {name}"
        os.kill(record.pid, signal.SIGKILL)
        eventually(f"{name} is dead", lambda record=record: not processes.is_alive(record))


def images() -> dict[str, str]:
    """Each image that the cluster holds → its digest."""
    return containerd.image_digests(LAYOUT)


def containers() -> set[str]:
    """The ids of all containers, by which their cgroups are named."""
    return set(containerd.ctr(LAYOUT, "containers", "list", "--quiet").split())


def run_once(space: Namespace, name: str, image: str, *command: str, volumes: Mapping[str, Any] | None = None) -> str:
    """Run command in a pod as restricted as the product's own, to its end; returns what it printed.

    volumes maps each path to what is mounted there.
    """
    mounts = {path: {"name": f"v{number}", **source} for number, (path, source) in enumerate((volumes or {}).items())}
    restricted = {
        "runAsUser": 65532,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "image": image,
        "command": list(command),
        "securityContext": restricted,
        "volumeMounts": [{"name": volume["name"], "mountPath": path} for path, volume in mounts.items()],
    }
    space.apply(a_pod(name, container, volumes=list(mounts.values())))
    ended(space, name)
    return space.run("logs", name)


def ended(space: Namespace, name: str) -> dict[str, Any]:
    """Wait until a pod's container has ended; returns how."""

    def states() -> list[dict[str, Any]]:
        found = space.get("pod", name) or {}
        return [row["state"] for row in found.get("status", {}).get("containerStatuses", ())]

    def end() -> dict[str, Any] | None:
        return next((state["terminated"] for state in states() if "terminated" in state), None)

    return eventually(f"{name} has ended", end, seconds=60, shows=states)


def a_pod(name: str, container: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod of one container that is started once; keyword arguments are fields of its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "imagePullPolicy": "Never", **container}],
            **spec,
        },
    }


@dataclass(frozen=True, slots=True)
class Keeper:
    """A pod that outlives what happens to the cluster around it."""

    space: Namespace

    def start(self) -> None:
        """Make it, and wait until it answers."""
        container = {"image": BUSYBOX_IMAGE, "command": ["sleep", "infinity"]}
        self.space.apply(a_pod(KEEPER, container, restartPolicy="Always"))
        self.answers()

    def answers(self) -> None:
        """Wait until a command runs in it: API server, kubelet, containerd and the pod itself are well."""
        eventually("a command runs in the pod", lambda: self._run("true"), seconds=60)

    def reaches_the_api_server(self) -> None:
        """Wait until it gets through to the Service kubernetes: its link, the bridge and kube-proxy are well."""
        eventually("the pod reaches the API server", lambda: self.connects("10.96.0.1", 443), seconds=60)

    def connects(self, address: str, port: int) -> bool:
        """Whether a connection is opened, within seconds."""
        return self._run(f"nc -w 3 {address} {port} </dev/null")

    def _run(self, script: str) -> bool:
        return self._exec(script).returncode == 0

    def _exec(self, script: str) -> subprocess.CompletedProcess[str]:
        return kubectl("--namespace", self.space.name, "exec", KEEPER, "--", "sh", "-c", script)

    def life(self) -> str:
        """When its process started, in ticks since boot: asked of the process itself, for the status may be old."""
        done = self._exec("cut -d' ' -f22 /proc/1/stat")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def links() -> set[str]:
    """The machine's network links: the bridge, and its end of each pod's."""
    shown = subprocess.run(["ip", "-json", "link"], check=True, capture_output=True, text=True).stdout
    return {link["ifname"] for link in json.loads(shown)}


def packet_filter() -> str:
    """All rules of the packet filter."""
    families = ("iptables-save", "ip6tables-save")
    return "".join(subprocess.run([one], check=True, capture_output=True, text=True).stdout for one in families)
