"""The table of the cluster's processes: how each is started, and how its health is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from devcluster.cache import digest
from devcluster.layout import HOST_IP, NODE, POD_CIDR, SERVICE_CIDR, Layout, Ports
from devcluster.probes import Probe, http, https, running, socket_answers

CONTROL_PLANE_HINT = "`devcluster down` and `devcluster up` start from nothing; images are kept"


@dataclass(frozen=True, slots=True)
class Component:
    """One process.

    reads names the files whose change needs a restart. healthy raises ProbeError while it is not.
    """

    name: str
    argv: tuple[str, ...]
    reads: tuple[Path, ...]
    healthy: Probe
    hint: str = CONTROL_PLANE_HINT

    def digest(self) -> str:
        """Name what it would be started from now."""
        return digest(*self.argv, *(file.read_bytes() for file in self.reads))

    def upon(self, file: Path) -> "Component":
        """The same, to be restarted when file changes, too."""
        return replace(self, reads=(*self.reads, file))


# The files of the programs, by which their processes are known; etcd's is named after the last folder of its package.
PROGRAMS: Final = frozenset(
    {
        "containerd",
        "server",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "coredns",
        "fake-gpu-plugin",
        "local-path-provisioner",
    }
)

Binaries = Mapping[str, Path]
Recipe = Callable[[Layout, Binaries], Component]


def containerd(layout: Layout, binaries: Binaries) -> Component:
    """The container runtime."""
    config = layout.config / "containerd.toml"
    return Component(
        "containerd",
        (str(binaries["containerd"]), "--config", str(config)),
        (config,),
        socket_answers(layout.containerd_socket),
        "its state must lie in a file system that can hold an overlay",
    )


def etcd(layout: Layout, binaries: Binaries) -> Component:
    """The store. It does not wait for the disk: a crash of the machine may cost the cluster, which costs seconds."""
    client = f"http://127.0.0.1:{Ports.ETCD}"
    return Component(
        "etcd",
        (
            str(binaries["etcd"]),
            f"--data-dir={layout.etcd}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls=http://127.0.0.1:{Ports.ETCD_PEER}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{Ports.ETCD_PEER}",
            f"--initial-cluster=default=http://127.0.0.1:{Ports.ETCD_PEER}",
            "--unsafe-no-fsync",
        ),
        (),
        http(f"{client}/health"),
    )


def apiserver(layout: Layout, binaries: Binaries) -> Component:
    """The API server, with Kubernetes' own default admission plugins and NodeRestriction."""
    pki = layout.pki
    return Component(
        "kube-apiserver",
        (
            str(binaries["kube-apiserver"]),
            f"--etcd-servers=http://127.0.0.1:{Ports.ETCD}",
            f"--secure-port={Ports.APISERVER}",
            # What pods are sent to for the Service `kubernetes`: the loopback would be their own.
            f"--advertise-address={HOST_IP}",
            # The node's name cannot be looked up: without this, exec and logs fail.
            "--kubelet-preferred-address-types=InternalIP",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/admin.crt",
            f"--kubelet-client-key={pki}/admin.key",
            "--allow-privileged=true",
        ),
        (pki / "digest", pki / "ca.crt"),
        https(layout, Ports.APISERVER, "/readyz"),
    )


def controller_manager(layout: Layout, binaries: Binaries) -> Component:
    """The controllers."""
    pki = layout.pki
    return Component(
        "kube-controller-manager",
        (
            str(binaries["kube-controller-manager"]),
            f"--kubeconfig={pki}/controller-manager.kubeconfig",
            "--bind-address=127.0.0.1",
            f"--secure-port={Ports.CONTROLLER_MANAGER}",
            f"--tls-cert-file={pki}/controller-manager.crt",
            f"--tls-private-key-file={pki}/controller-manager.key",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            "--horizontal-pod-autoscaler-sync-period=2s",  # 15 s are long to look at
            f"--cluster-signing-key-file={pki}/ca.key",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=false",
        ),
        (pki / "ca.crt",),
        https(layout, Ports.CONTROLLER_MANAGER, "/healthz"),
    )


def scheduler(layout: Layout, binaries: Binaries) -> Component:
    """The scheduler."""
    pki = layout.pki
    return Component(
        "kube-scheduler",
        (
            str(binaries["kube-scheduler"]),
            f"--kubeconfig={pki}/scheduler.kubeconfig",
            "--bind-address=127.0.0.1",
            f"--secure-port={Ports.SCHEDULER}",
            f"--tls-cert-file={pki}/scheduler.crt",
            f"--tls-private-key-file={pki}/scheduler.key",
            "--leader-elect=false",
        ),
        (pki / "ca.crt",),
        https(layout, Ports.SCHEDULER, "/healthz"),
    )


def kubelet(layout: Layout, binaries: Binaries) -> Component:
    """The kubelet."""
    config = layout.config / "kubelet.yaml"
    return Component(
        "kubelet",
        (
            str(binaries["kubelet"]),
            f"--config={config}",
            f"--kubeconfig={layout.pki}/kubelet.kubeconfig",
            f"--hostname-override={NODE}",
            f"--node-ip={HOST_IP}",
            f"--root-dir={layout.kubelet}",
        ),
        (config, layout.pki / "ca.crt"),
        http(f"http://127.0.0.1:{Ports.KUBELET_HEALTH}/healthz"),
    )


def proxy(layout: Layout, binaries: Binaries) -> Component:
    """kube-proxy, which makes Services reachable. Connection tracking stays as the machine has it."""
    return Component(
        "kube-proxy",
        (
            str(binaries["kube-proxy"]),
            f"--kubeconfig={layout.pki}/proxy.kubeconfig",
            "--proxy-mode=iptables",
            f"--cluster-cidr={POD_CIDR}",
            "--conntrack-max-per-core=0",
            f"--hostname-override={NODE}",
            f"--healthz-bind-address=127.0.0.1:{Ports.PROXY_HEALTH}",
            f"--metrics-bind-address=127.0.0.1:{Ports.PROXY_METRICS}",
        ),
        (layout.pki / "ca.crt",),
        http(f"http://127.0.0.1:{Ports.PROXY_HEALTH}/healthz"),
        "the kernel must have iptables (nf_tables or legacy) with the matches comment, statistic and conntrack",
    )


def coredns(layout: Layout, binaries: Binaries) -> Component:
    """The cluster's name server."""
    config = layout.config / "Corefile"
    return Component(
        "coredns",
        (str(binaries["coredns"]), "-conf", str(config)),
        (config, layout.pki / "ca.crt"),
        http(f"http://127.0.0.1:{Ports.DNS_READY}/ready"),
        f"port 53 of {HOST_IP} must be free: a resolver that listens on all addresses takes it",
    )


def gpu_plugin(layout: Layout, binaries: Binaries) -> Component:
    """The device plugin that offers GPUs which are not there."""
    return Component(
        "fake-gpu-plugin",
        (str(binaries["fake-gpu-plugin"]), f"--socket={layout.gpu_socket}"),
        (),
        socket_answers(layout.gpu_socket),
    )


def provisioner(layout: Layout, binaries: Binaries) -> Component:
    """The maker of persistent volumes."""
    config = layout.config / "provisioner.json"
    helper = layout.config / "helper-pod.yaml"
    return Component(
        "local-path-provisioner",
        (
            str(binaries["local-path-provisioner"]),
            "start",
            f"--kubeconfig={layout.kubeconfig}",
            f"--config={config}",
            f"--helper-pod-file={helper}",
        ),
        (config, helper, layout.pki / "ca.crt"),
        running,
    )


# In the order of the start; what stands in one row does not wait for another in it.
ROOTS: tuple[Recipe, ...] = (containerd, etcd)
ROWS: tuple[tuple[Recipe, ...], ...] = (
    (apiserver,),
    (controller_manager, scheduler, kubelet, proxy, coredns, gpu_plugin, provisioner),
)


def table(layout: Layout, binaries: Binaries) -> list[list[Component]]:
    """All components, row by row.

    What stands on etcd starts anew with new data in it: caches would hold what is no more, and a kubelet that has
    registered its node does not do so again.
    """
    roots = [recipe(layout, binaries) for recipe in ROOTS]
    return [roots, *([recipe(layout, binaries).upon(layout.etcd_identity) for recipe in row] for row in ROWS)]
