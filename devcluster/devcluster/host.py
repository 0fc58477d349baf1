"""What the machine offers: privileges, cgroups, name servers, file systems."""

import os
from pathlib import Path
from typing import Final

from devcluster.commands import run
from devcluster.errors import DevclusterError

CAP_SYS_RESOURCE: Final = 24
UNSTACKABLE: Final = frozenset({"overlayfs", "fuse", "fuseblk", "nfs"})
LIMITING: Final = frozenset({"cpu", "cpuset", "io", "memory", "pids"})


def require_root() -> None:
    """Refuse early what would fail late.

    Raises:
        DevclusterError: Not root.
    """
    if os.geteuid() != 0:
        raise DevclusterError("a kubelet needs root", hint="run it again with sudo -E")


def has_capability(status: str, bit: int) -> bool:
    """Read the effective capabilities from the text of /proc/PID/status."""
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(mask, 16) >> bit & 1)


def may_lower_oom_score() -> bool:
    """Whether this process may give its children a lower oom_score_adj than its own."""
    return has_capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE)


def cgroup_version(mounts: str) -> int:
    """Read from the text of /proc/mounts what is mounted on /sys/fs/cgroup: 2 (unified) or 1 (legacy, hybrid)."""
    for line in mounts.splitlines():
        _, where, kind, *_ = line.split()
        if where == "/sys/fs/cgroup" and kind == "cgroup2":
            return 2
    return 1


def nameservers(resolv_conf: str) -> list[str]:
    """List the name servers that pods could reach, too: those not on the machine's own loopback."""
    lines = (line.split() for line in resolv_conf.splitlines())
    return [words[1] for words in lines if words[:1] == ["nameserver"] and not words[1].startswith(("127.", "::1"))]


def upstream_resolv_conf() -> Path:
    """The resolver configuration with real servers: systemd-resolved keeps it apart from /etc/resolv.conf."""
    resolved = Path("/run/systemd/resolve/resolv.conf")
    usual = Path("/etc/resolv.conf")
    if usual.exists() and nameservers(usual.read_text()):
        return usual
    return resolved if resolved.exists() else usual


def boot_id() -> str:
    """A value that differs after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def snapshotter(folder: Path) -> str:
    """Choose how containerd layers images below folder: overlayfs, or native (copies) where overlayfs cannot lie."""
    kind = run(["stat", "--file-system", "--format=%T", str(_existing(folder))], hint="coreutils' stat is needed")
    return "native" if kind.strip() in UNSTACKABLE else "overlayfs"


def _existing(folder: Path) -> Path:
    return next(candidate for candidate in (folder, *folder.parents) if candidate.exists())


def prepare_cgroups() -> None:
    """Have the controllers that limit containers; on cgroup v1 each has a hierarchy of its own, and they are there."""
    if cgroup_version(Path("/proc/mounts").read_text()) == 2:
        delegate_controllers(Path("/sys/fs/cgroup"))


def delegate_controllers(root: Path) -> None:
    """On cgroup v2, let the root's children have the controllers that limit containers.

    systemd has done so. Without it, inside another container, processes sit in the root itself, and the kernel gives
    controllers on only from a group without processes: they move to a child first.
    """
    control = root / "cgroup.subtree_control"
    have = set(control.read_text().split())
    wanted = (set((root / "cgroup.controllers").read_text().split()) & LIMITING) - have
    if not wanted:
        return
    if (root / "cgroup.type").exists():  # Only the true root lacks it, and may hold processes.
        inner = root / "init"
        inner.mkdir(exist_ok=True)
        for pid in (root / "cgroup.procs").read_text().split():
            _move(pid, inner)
    control.write_text(" ".join(f"+{name}" for name in sorted(wanted)))


def _move(pid: str, group: Path) -> None:
    try:
        (group / "cgroup.procs").write_text(pid)
    except ProcessLookupError:
        return  # It ended meanwhile.
