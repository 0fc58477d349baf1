"""Where everything lies: folders, addresses, ports and names of the cluster."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NODE: Final = "node0"
BRIDGE: Final = "llama0"
NETWORK: Final = "llama-devcluster"
HOST_IP: Final = "10.244.0.1"
POD_CIDR: Final = "10.244.0.0/24"
SERVICE_CIDR: Final = "10.96.0.0/16"
KUBERNETES_SERVICE_IP: Final = "10.96.0.1"
CLUSTER_DOMAIN: Final = "cluster.local"
GPU_COUNT: Final = 8
BUSYBOX_IMAGE: Final = "localhost/llama-devcluster/busybox:1"
PAUSE_IMAGE: Final = "localhost/llama-devcluster/pause:1"


class Ports:
    """Every port that is listened on; away from the usual ones, which another cluster may hold."""

    ETCD: Final = 22379
    ETCD_PEER: Final = 22380
    APISERVER: Final = 26443
    CONTROLLER_MANAGER: Final = 20257
    SCHEDULER: Final = 20259
    KUBELET: Final = 20250
    KUBELET_HEALTH: Final = 20248
    PROXY_HEALTH: Final = 20256
    PROXY_METRICS: Final = 20249
    DNS_READY: Final = 20253


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one cluster.

    cache outlives the cluster; state holds what the cluster must not lose when the machine restarts; run what it must
    lose then: sockets, process records, mounts.
    """

    cache: Path
    state: Path
    run: Path

    @classmethod
    def from_environment(cls) -> "Layout":
        """Read LLAMA_OPERATOR_CACHE, LLAMA_DEVCLUSTER_STATE and LLAMA_DEVCLUSTER_RUN; all have defaults."""
        xdg = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        cache = os.environ.get("LLAMA_OPERATOR_CACHE") or f"{xdg}/llama-operator"
        state = os.environ.get("LLAMA_DEVCLUSTER_STATE") or "/var/lib/llama-devcluster"
        run = os.environ.get("LLAMA_DEVCLUSTER_RUN") or "/run/llama-devcluster"
        return cls(cache=Path(cache), state=Path(state), run=Path(run))

    @property
    def lock(self) -> Path:
        """Held by whoever changes the cluster."""
        return self.state.with_name(self.state.name + ".lock")

    @property
    def build_storage(self) -> Path:
        """Buildah's images and layers."""
        return self.cache / "buildah"

    @property
    def build_run(self) -> Path:
        """What buildah must forget when the machine restarts."""
        return self.run.with_name(self.run.name + "-build")

    @property
    def build_lock(self) -> Path:
        """Held by whoever builds images."""
        return self.cache / "build.lock"

    @property
    def work(self) -> Path:
        """Where a build keeps what it needs for a moment."""
        return self.cache / "work"

    @property
    def images(self) -> Path:
        """Containerd's root: images and their unpacked layers. `down` keeps it."""
        return self.state / "containerd"

    @property
    def config(self) -> Path:
        """Generated configuration."""
        return self.state / "config"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def etcd(self) -> Path:
        """Etcd's data."""
        return self.state / "etcd"

    @property
    def etcd_identity(self) -> Path:
        """Names etcd's data: it changes when they start from nothing."""
        return self.state / "etcd.identity"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root: pods' volumes, plugin sockets."""
        return self.state / "kubelet"

    @property
    def volumes(self) -> Path:
        """What persistent volumes hold."""
        return self.state / "volumes"

    @property
    def bin(self) -> Path:
        """Links to the commands a person uses: kubectl, helm, ctr."""
        return self.state / "bin"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.state / "log"

    @property
    def pod_logs(self) -> Path:
        """What containers print."""
        return self.state / "pods"

    @property
    def processes(self) -> Path:
        """One record for each process."""
        return self.run / "processes"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens, and what its shims carry on their command line."""
        return self.run / "containerd.sock"

    @property
    def gpu_socket(self) -> Path:
        """Where the kubelet looks for device plugins."""
        return self.kubelet / "plugins_registry" / "fake-gpu.sock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.pki / "admin.kubeconfig"
