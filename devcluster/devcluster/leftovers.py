"""Find and remove what a cluster leaves behind in the kernel: shims and their containers, mounts, cgroups."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from devcluster.components import PROGRAMS
from devcluster.errors import DevclusterError
from devcluster.layout import NETWORK, Layout

PATIENCE_S: Final = 10.0
CGROUP_PARENT: Final = "k8s.io"


def decode_mount(path: str) -> str:
    r"""Undo the kernel's escapes in /proc/mounts: \040 is a space."""
    return path.encode().decode("unicode_escape") if "\\" in path else path


def mounts_below(mounts: str, roots: Iterable[Path]) -> list[str]:
    """List from the text of /proc/mounts what is mounted on or below roots, the newest first.

    Newest first is the order in which they can be unmounted: what is stacked or nested was mounted later.
    """
    where = [decode_mount(line.split()[1]) for line in mounts.splitlines()]
    folders = list(roots)
    return [path for path in reversed(where) if any(Path(path).is_relative_to(folder) for folder in folders)]


def unmount(roots: Iterable[Path]) -> int:
    """Unmount everything on or below roots; returns how many mounts that were.

    Raises:
        DevclusterError: Something cannot be unmounted, not even lazily.
    """
    found = mounts_below(Path("/proc/mounts").read_text(), roots)
    for path in found:
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0:
            continue
        lazily = subprocess.run(["umount", "--lazy", path], capture_output=True, text=True, check=False)
        if lazily.returncode != 0:
            raise DevclusterError(f"cannot unmount {path}: {lazily.stderr.strip()}", hint=f"see `fuser -vm {path}`")
    return len(found)


def parents() -> dict[int, int]:
    """Each process's parent."""
    found: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    return found


def with_descendants(roots: Iterable[int], parent_of: Mapping[int, int]) -> set[int]:
    """Roots and all processes that descend from one of them."""
    family = set(roots)
    grown = True
    while grown:
        more = {pid for pid, parent in parent_of.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return family


def mentions(words: Iterable[str], folder: Path) -> bool:
    """Whether a command line names folder or something below it, alone or as an option's value."""
    needle = str(folder)
    values = (word.partition("=")[2] or word for word in words)
    return any(value == needle or value.startswith(needle + "/") for value in values)


def processes_naming(folders: Iterable[Path]) -> set[int]:
    """Processes whose command line names one of folders, this one and its parents excepted."""
    wanted = list(folders)
    found: set[int] = set()
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = cmdline.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(mentions(words, folder) for folder in wanted):
            found.add(int(cmdline.parent.name))
    return found


def shims(layout: Layout) -> set[int]:
    """Our containerd's shims, which outlive it: each carries the socket of its containerd on its command line."""
    naming = processes_naming([layout.containerd_socket])
    return {pid for pid in naming if _program(pid).startswith("containerd-shim")}


def cluster_processes(layout: Layout) -> set[int]:
    """The cluster's own processes, recorded or not: programs of ours that name its folders on their command line."""
    return {pid for pid in processes_naming([layout.state, layout.run]) if _executable(pid) in PROGRAMS}


def _executable(pid: int) -> str:
    try:
        # A program that was deleted while it runs is marked so.
        return Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace").rpartition("/")[2]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def kill_containers(layout: Layout) -> int:
    """Kill our containers and their shims; returns how many processes that were."""
    doomed = with_descendants(shims(layout), parents())
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # It went with its parent.
    deadline = time.monotonic() + PATIENCE_S
    while shims(layout):
        if time.monotonic() > deadline:
            raise DevclusterError(
                "containers do not end after SIGKILL", hint="a process hangs in the kernel: see dmesg"
            )
        time.sleep(0.05)
    return len(doomed)


def remove_cgroups() -> None:
    """Remove the empty cgroups of containers that are gone; one in use is another containerd's, and stays."""
    for parent in [*Path("/sys/fs/cgroup").glob(f"*/{CGROUP_PARENT}"), Path("/sys/fs/cgroup") / CGROUP_PARENT]:
        for folder, _, _ in os.walk(parent, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                continue


def remove_cni_results(folder: Path = Path("/var/lib/cni/results")) -> None:
    """Remove what CNI remembers of our pods outside our folders: a file for the bridge and one for the loopback."""
    for file in folder.glob(f"{NETWORK}-*"):
        pod = file.name.removeprefix(f"{NETWORK}-").rpartition("-")[0]
        for result in (file, *folder.glob(f"cni-loopback-{pod}-*")):
            result.unlink()


def remove_kubelet_files(
    layout: Layout, *, logs: Path = Path("/var/log/containers"), devices: Path = Path("/var/lib/kubelet/device-plugins")
) -> None:
    """Remove what the kubelet keeps where no setting can move it, unless another kubelet is at work there."""
    for link in logs.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(layout.state):
            link.unlink()
    if not _answers(devices / "kubelet.sock"):
        for name in ("kubelet.sock", "kubelet_internal_checkpoint"):
            (devices / name).unlink(missing_ok=True)
    _remove_empty(logs, devices, devices.parent)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        # In use by another, or the place of a mount.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(str(path)) == 0


def remove_shim_sockets(folder: Path = Path("/run/containerd/s")) -> None:
    """Remove the sockets of shims that are gone: they lie in a folder that all containerds share."""
    for path in folder.glob("*"):
        if path.is_socket() and not _answers(path):
            path.unlink()
    _remove_empty(folder, folder.parent)
