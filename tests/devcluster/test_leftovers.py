"""What a cluster left behind is told from what is others'."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from devcluster import leftovers
from devcluster.layout import NETWORK, Layout


@pytest.fixture
def tmp_path() -> Generator[Path]:
    """Short, whatever the number of pytest's runs: the path of a socket has at most 107 characters."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def test_mounts_are_undone_from_the_inside_out() -> None:
    """What was mounted later lies within, or on top, and goes first."""
    mounts = (
        "tmpfs /run/x tmpfs rw 0 0\n"
        "overlay /run/x/rootfs overlay rw 0 0\n"
        "proc /run/x/rootfs/proc proc rw 0 0\n"
        "overlay /run/x/rootfs overlay rw 0 0\n"
    )
    assert leftovers.mounts_below(mounts, [Path("/run/x")]) == [
        "/run/x/rootfs",
        "/run/x/rootfs/proc",
        "/run/x/rootfs",
        "/run/x",
    ]


def test_a_neighbours_mounts_stay() -> None:
    """A folder whose name only begins alike is another."""
    mounts = "tmpfs /run/x2/rootfs tmpfs rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
    assert leftovers.mounts_below(mounts, [Path("/run/x")]) == []


def test_a_mounts_path_is_read_as_it_is() -> None:
    """The kernel escapes spaces."""
    assert leftovers.mounts_below("tmpfs /run/x/a\\040b tmpfs rw 0 0\n", [Path("/run/x")]) == ["/run/x/a b"]


def test_a_containers_whole_family_is_found() -> None:
    """Children of children go with their shim, strangers do not."""
    parent_of = {10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    assert leftovers.with_descendants([10], parent_of) == {10, 11, 12}


def test_a_command_line_names_a_folder_alone_or_as_an_options_value() -> None:
    """A folder whose name only begins alike is not meant."""
    folder = Path("/var/lib/x")
    assert leftovers.mentions(["etcd", "--data-dir=/var/lib/x/etcd"], folder)
    assert leftovers.mentions(["containerd", "--config", "/var/lib/x/config"], folder)
    assert not leftovers.mentions(["etcd", "--data-dir=/var/lib/x2/etcd"], folder)
    assert not leftovers.mentions(["grep", "in /var/lib/x"], folder)


def test_what_cni_remembers_of_our_pods_goes(tmp_path: Path) -> None:
    """With the loopback's part of the same pod; another network's stays."""
    for name in (f"{NETWORK}-abc-eth0", "cni-loopback-abc-lo", "other-def-eth0", "cni-loopback-def-lo"):
        (tmp_path / name).touch()
    leftovers.remove_cni_results(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"other-def-eth0", "cni-loopback-def-lo"}


@contextmanager
def listening(path: Path) -> Generator[None]:
    """A process that answers at path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        yield


def a_dead_socket(path: Path) -> None:
    """What a killed process leaves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))


def test_sockets_of_dead_shims_go(tmp_path: Path) -> None:
    """One that answers is another containerd's."""
    folder = tmp_path / "containerd" / "s"
    folder.mkdir(parents=True)
    a_dead_socket(folder / "dead")
    with listening(folder / "alive"):
        leftovers.remove_shim_sockets(folder)
    assert [path.name for path in folder.iterdir()] == ["alive"]


def test_a_folder_that_only_we_filled_goes_with_its_last_file(tmp_path: Path) -> None:
    """No empty folder is left."""
    folder = tmp_path / "containerd" / "s"
    folder.mkdir(parents=True)
    a_dead_socket(folder / "dead")
    leftovers.remove_shim_sockets(folder)
    assert not (tmp_path / "containerd").exists()


def test_the_kubelets_files_outside_our_folders_go(layout: Layout, tmp_path: Path) -> None:
    """Links to our pods' logs, its dead socket, its checkpoint; and the folders, when they are empty."""
    logs, devices = tmp_path / "containers", tmp_path / "kubelet" / "device-plugins"
    logs.mkdir()
    devices.mkdir(parents=True)
    (logs / "pod.log").symlink_to(layout.pod_logs / "pod" / "0.log")
    a_dead_socket(devices / "kubelet.sock")
    (devices / "kubelet_internal_checkpoint").touch()
    leftovers.remove_kubelet_files(layout, logs=logs, devices=devices)
    assert not logs.exists()
    assert not devices.parent.exists()


def test_another_kubelets_files_stay(layout: Layout, tmp_path: Path) -> None:
    """Its links lead elsewhere, and its socket answers."""
    logs, devices = tmp_path / "containers", tmp_path / "kubelet" / "device-plugins"
    logs.mkdir()
    devices.mkdir(parents=True)
    (logs / "pod.log").symlink_to("/var/log/pods/pod/0.log")
    (devices / "kubelet_internal_checkpoint").touch()
    with listening(devices / "kubelet.sock"):
        leftovers.remove_kubelet_files(layout, logs=logs, devices=devices)
    assert (logs / "pod.log").is_symlink()
    assert {file.name for file in devices.iterdir()} == {"kubelet.sock", "kubelet_internal_checkpoint"}
