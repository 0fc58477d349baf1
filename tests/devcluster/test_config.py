"""What the programs are told."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import config
from devcluster.layout import BUSYBOX_IMAGE, HOST_IP, POD_CIDR, Layout

SHIM = Path("/programs/containerd-shim-runc-v2")


def containerd(layout: Layout, *, restrict: bool = True, snapshotter: str = "overlayfs") -> dict[str, Any]:
    """Containerd's configuration."""
    return tomllib.loads(config.containerd(layout, shim=SHIM, restrict_oom_score=restrict, snapshotter=snapshotter))


def cri(read: dict[str, Any], part: str) -> dict[str, Any]:
    """A part of it that the kubelet's requests are served by."""
    return read["plugins"][f"io.containerd.cri.v1.{part}"]


def kubelet(layout: Layout) -> dict[str, Any]:
    """The kubelet's configuration."""
    return yaml.safe_load(config.kubelet(layout, resolv_conf="/etc/resolv.conf"))


@pytest.mark.parametrize("restrict", [True, False])
def test_containerd_restricts_scores_where_it_may_not_lower_them(layout: Layout, restrict: bool) -> None:
    """Without the capability, a sandbox that is to have a lower score fails."""
    assert cri(containerd(layout, restrict=restrict), "runtime")["restrict_oom_score_adj"] is restrict


def test_containerd_layers_images_as_the_file_system_allows(layout: Layout) -> None:
    """Where an overlay cannot lie, images are copied."""
    assert cri(containerd(layout, snapshotter="native"), "images")["snapshotter"] == "native"


def test_containerd_keeps_all_of_it_below_our_folders(layout: Layout) -> None:
    """What is elsewhere would be shared with another containerd, and outlive the cluster."""
    read = containerd(layout)
    runtime = cri(read, "runtime")
    runc = runtime["containerd"]["runtimes"]["runc"]["options"]
    paths = [read["root"], read["state"], read["grpc"]["address"], runc["Root"], runtime["cni"]["conf_dir"]]
    assert all(path.startswith((str(layout.state), str(layout.run))) for path in paths)
    assert read["imports"] == []
    assert read["plugins"]["io.containerd.nri.v1.nri"]["disable"], "its socket's place is every containerd's"


def test_containers_are_held_by_our_own_shim(layout: Layout) -> None:
    """One on PATH belongs to the machine's containerd, which may be another version."""
    assert cri(containerd(layout), "runtime")["containerd"]["runtimes"]["runc"]["runtime_path"] == str(SHIM)


def test_the_kubelet_runs_on_both_versions_of_cgroups(layout: Layout) -> None:
    """Version 1 is not refused, and nothing must have been delegated by systemd."""
    read = kubelet(layout)
    assert (read["failCgroupV1"], read["cgroupDriver"]) == (False, "cgroupfs")
    assert (read["cgroupsPerQOS"], read["enforceNodeAllocatable"]) == (False, [])


def test_the_kubelet_lets_in_only_whom_the_api_server_knows(layout: Layout) -> None:
    """Its port stands open to pods."""
    read = kubelet(layout)
    assert read["authentication"]["anonymous"] == {"enabled": False}
    assert read["authorization"] == {"mode": "Webhook"}


def test_pods_ask_the_clusters_name_server(layout: Layout) -> None:
    """It listens where the kubelet sends them."""
    assert kubelet(layout)["clusterDNS"] == [HOST_IP]
    assert f"bind {HOST_IP}\n" in config.coredns(layout, upstream=["192.0.2.1"])


@pytest.mark.parametrize(("upstream", "forwards"), [(["192.0.2.1", "192.0.2.2"], True), ([], False)])
def test_names_outside_the_cluster_go_to_the_machines_servers(
    layout: Layout, upstream: list[str], forwards: bool
) -> None:
    """A machine without any leaves them unanswered, which CoreDNS does by itself."""
    text = config.coredns(layout, upstream=upstream)
    assert ("forward . 192.0.2.1 192.0.2.2" in text) is forwards
    assert ("forward" in text) is forwards


def test_addresses_of_pods_are_forgotten_with_the_machines_restart(layout: Layout) -> None:
    """Then no pod holds one; a lease that stayed would never be given back."""
    bridge = json.loads(config.cni(layout))["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": POD_CIDR}]]
    assert bridge["ipam"]["dataDir"].startswith(str(layout.run))


def test_volumes_are_made_by_an_image_that_is_there(layout: Layout) -> None:
    """No registry is asked for the helper's image."""
    container = yaml.safe_load(config.helper_pod())["spec"]["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == (BUSYBOX_IMAGE, "IfNotPresent")
    assert json.loads(config.provisioner(layout))["nodePathMap"][0]["paths"] == [str(layout.volumes)]
