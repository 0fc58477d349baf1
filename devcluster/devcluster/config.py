"""Render the configuration files of containerd, CNI, kubelet, CoreDNS and the volume provisioner; all pure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from devcluster.layout import (
    BRIDGE,
    BUSYBOX_IMAGE,
    CLUSTER_DOMAIN,
    HOST_IP,
    NETWORK,
    PAUSE_IMAGE,
    POD_CIDR,
    Layout,
    Ports,
)


def containerd(layout: Layout, *, shim: Path, restrict_oom_score: bool, snapshotter: str) -> str:
    """Containerd 2's configuration: 2.1 is the first with image volumes.

    Args:
        layout: Where it keeps things.
        shim: The program that holds a container; another containerd's may be on PATH.
        restrict_oom_score: Without CAP_SYS_RESOURCE a container cannot be given a lower score than containerd's own;
            when it is tried nevertheless, each sandbox fails with "can't get final child's PID from pipe: EOF".
        snapshotter: overlayfs, or native where overlayfs cannot be mounted.
    """
    return f"""version = 3
root = "{layout.images}"
state = "{layout.run}/containerd"
imports = []
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.state}/containerd-opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = {str(restrict_oom_score).lower()}
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{layout.config}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "{shim}"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{layout.run}/runc"
"""


def cni(layout: Layout) -> str:
    """The pods' network: a bridge whose address is the machine's own among the pods.

    Address leases lie under run: after a restart of the machine no pod holds one.
    """
    ipam: dict[str, Any] = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.run / "cni"),
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": NETWORK,
            "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
        },
        indent=2,
    )


def kubelet(layout: Layout, *, resolv_conf: str) -> str:
    """The kubelet's configuration.

    One shape for cgroup v1 and v2: no cgroups per quality of service, so that nothing must be delegated by a systemd
    which may not be there. evictionHard and the image garbage collection are off as far as a full disk allows: a
    developer's machine is fuller than a node.
    """
    pki = layout.pki
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": HOST_IP,
            "port": Ports.KUBELET,
            "healthzPort": Ports.KUBELET_HEALTH,
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
            "clusterDNS": [HOST_IP],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": resolv_conf,
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/kubelet.crt",
            "tlsPrivateKeyFile": f"{pki}/kubelet.key",
            "maxPods": 60,
            # Below our own folder, with all else: both are elsewhere by default.
            "podLogsDir": str(layout.pod_logs),
            "volumePluginDir": f"{layout.kubelet}/volume-plugins",
            "containerLogMaxSize": "5Mi",
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
            "configMapAndSecretChangeDetectionStrategy": "Watch",
        },
        sort_keys=False,
    )


def coredns(layout: Layout, *, upstream: Sequence[str]) -> str:
    """CoreDNS on the bridge's address; names outside the cluster go to upstream, or nowhere when it is empty."""
    forward = f"\n  forward . {' '.join(upstream)}" if upstream else ""
    return f"""{CLUSTER_DOMAIN}:53 in-addr.arpa:53 .:53 {{
  bind {HOST_IP}
  errors
  ready 127.0.0.1:{Ports.DNS_READY}
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig {layout.kubeconfig} llama-devcluster
    pods insecure
  }}{forward}
  cache 5
}}
"""


def provisioner(layout: Layout) -> str:
    """Where local-path-provisioner makes the volumes."""
    paths = [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [str(layout.volumes)]}]
    return json.dumps({"nodePathMap": paths}, indent=2)


def helper_pod() -> str:
    """The pod that makes and removes a volume's folder."""
    container = {"name": "helper-pod", "image": BUSYBOX_IMAGE, "imagePullPolicy": "IfNotPresent"}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "helper-pod"},
            "spec": {"priorityClassName": "system-node-critical", "containers": [container]},
        }
    )
