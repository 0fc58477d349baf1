"""What is read from the machine."""

from pathlib import Path

import pytest

from devcluster import host

UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
HYBRID = (
    "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
    "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
    "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
)


@pytest.mark.parametrize(("mounts", "version"), [(UNIFIED, 2), (HYBRID, 1), ("proc /proc proc rw 0 0\n", 1)])
def test_the_cgroup_version_is_what_is_mounted_at_the_root(mounts: str, version: int) -> None:
    """A unified hierarchy beside the old ones is not version 2."""
    assert host.cgroup_version(mounts) == version


def a_cgroup_root(folder: Path, *, enabled: str) -> Path:
    """A cgroup v2 folder as the kernel shows it inside a container."""
    folder.mkdir()
    (folder / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma\n")
    (folder / "cgroup.subtree_control").write_text(enabled)
    (folder / "cgroup.procs").write_text("17\n18\n")
    (folder / "cgroup.type").write_text("domain\n")
    return folder


def test_containers_get_the_controllers_that_limit_them(tmp_path: Path) -> None:
    """Those that are on already are not asked for again."""
    root = a_cgroup_root(tmp_path / "cgroup", enabled="cpu\n")
    (root / "init").mkdir()
    (root / "init" / "cgroup.procs").touch()
    host.delegate_controllers(root)
    assert (root / "cgroup.subtree_control").read_text() == "+cpuset +io +memory +pids"


def test_processes_leave_a_root_that_is_to_hand_controllers_on(tmp_path: Path) -> None:
    """The kernel refuses it to a group that holds processes."""
    root = a_cgroup_root(tmp_path / "cgroup", enabled="")
    host.delegate_controllers(root)
    assert (root / "init" / "cgroup.procs").read_text() == "18"  # The kernel takes one pid with each write.


def test_controllers_that_are_on_stay_untouched(tmp_path: Path) -> None:
    """The init system has seen to it: nothing is moved."""
    root = a_cgroup_root(tmp_path / "cgroup", enabled="cpuset cpu io memory pids\n")
    host.delegate_controllers(root)
    assert not (root / "init").exists()


@pytest.mark.parametrize(("mask", "has"), [("000001ffffffffff", True), ("000001fffeffffff", False)])
def test_a_missing_capability_is_seen(mask: str, has: bool) -> None:
    """Bit 24 is CAP_SYS_RESOURCE."""
    assert host.has_capability(f"Name:\tpython\nCapEff:\t{mask}\n", host.CAP_SYS_RESOURCE) is has


def test_pods_are_not_sent_to_the_machines_own_loopback() -> None:
    """A resolver on 127.0.0.53 is another one inside a pod: none."""
    text = "# by systemd\nnameserver 127.0.0.53\nnameserver 192.0.2.7\nsearch example.org\n"
    assert host.nameservers(text) == ["192.0.2.7"]
