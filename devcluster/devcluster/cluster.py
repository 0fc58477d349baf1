"""Bring the cluster up, whatever state it is in, and take it down without a trace."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from devcluster import (
    addons,
    binaries,
    components,
    config,
    containerd,
    host,
    leftovers,
    network,
    packages,
    pki,
    processes,
    starting,
)
from devcluster.api import Api
from devcluster.cache import locked
from devcluster.layout import Layout
from devcluster.progress import step

PATIENCE_S: Final = 3.0


def up(layout: Layout) -> None:
    """Make the cluster run and answer; what runs already is left alone.

    Raises:
        DevclusterError: A step failed, with its command, log and hint.
    """
    host.require_root()
    with locked(layout.lock):
        packages.ensure(packages.CLUSTER_NEEDS)
        programs = binaries.ensure(layout)
        _forget_other_boot(layout)
        with step("keys and configuration") as current:
            if not _configure(layout, programs):
                current.cached()
        _stop_strays(layout)
        with step("network") as current:
            torn = not network.has_bridge()
            if not network.up():
                current.cached()
            if torn:
                # Pods that outlived their bridge hang on none: the kubelet starts them again.
                leftovers.kill_containers(layout)
        starting.identify_etcd(layout)
        for row in components.table(layout, programs):
            starting.start_row(layout, row)
            if row[0].name == "containerd":
                with step("pause and busybox images") as current:
                    if not containerd.load_own_images(layout, programs["pause"], Path("/bin/busybox")):
                        current.cached()
        with step("node and storage"):
            _add_ons(layout)


def _stop_strays(layout: Layout) -> None:
    """End what runs for this cluster without a record: its ports would be taken."""
    records = [processes.read(layout.processes / name) for name in _recorded(layout)]
    known = {record.pid for record in records if record and processes.is_alive(record)}
    strays = leftovers.cluster_processes(layout) - known
    if strays:
        with step("processes without a record") as current:
            for pid in strays:
                processes.end(pid)
            current.note = f"{len(strays)} ended"


def _forget_other_boot(layout: Layout) -> None:
    """Drop what a cluster before the machine's last start left under run: sockets, records, leases of addresses."""
    stamp = layout.run / "boot"
    if stamp.exists() and stamp.read_text() == host.boot_id():
        return
    # After a restart there are none; after somebody's sweep of /run there are, and their containerd knows them no more.
    leftovers.kill_containers(layout)
    leftovers.unmount([layout.run])
    if layout.run.exists():
        shutil.rmtree(layout.run)
    layout.run.mkdir(parents=True)
    stamp.write_text(host.boot_id())


def _configure(layout: Layout, programs: Mapping[str, Path]) -> bool:
    changed = pki.ensure(layout.pki)
    resolv_conf = host.upstream_resolv_conf()
    upstream = host.nameservers(resolv_conf.read_text()) if resolv_conf.exists() else []
    files = {
        "containerd.toml": config.containerd(
            layout,
            shim=programs["containerd-shim-runc-v2"],
            restrict_oom_score=not host.may_lower_oom_score(),
            snapshotter=host.snapshotter(layout.state),
        ),
        "cni/10-bridge.conflist": config.cni(layout),
        "kubelet.yaml": config.kubelet(layout, resolv_conf=str(resolv_conf)),
        "Corefile": config.coredns(layout, upstream=upstream),
        "provisioner.json": config.provisioner(layout),
        "helper-pod.yaml": config.helper_pod(),
    }
    for name, content in files.items():
        file = layout.config / name
        if not file.exists() or file.read_text() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            changed = True
    layout.bin.mkdir(parents=True, exist_ok=True)
    for name in ("kubectl", "helm", "ctr"):
        link = layout.bin / name
        link.unlink(missing_ok=True)
        link.symlink_to(programs[name])
    for folder in (layout.volumes, layout.gpu_socket.parent):
        folder.mkdir(parents=True, exist_ok=True)
    host.prepare_cgroups()
    return changed


def _add_ons(layout: Layout) -> None:
    api = Api(layout)
    for path, body in addons.storage_objects().items():
        api.apply(path, body)
    addons.wait_until_usable(api)
    addons.label_node(api)


def down(layout: Layout, *, images: bool) -> None:
    """Stop everything and remove every trace outside the cache.

    Args:
        layout: Which cluster.
        images: Remove loaded images, too; they are kept otherwise, for the next cluster.
    """
    host.require_root()
    with locked(layout.lock):
        with step("processes"):
            # The kubelet first, or it would start again what is stopped; containerd last, it knows the containers.
            _stop(layout, ["kubelet"])
            _stop(layout, [name for name in _recorded(layout) if name != "containerd"])
        _stop_strays(layout)
        with step("containers"):
            leftovers.kill_containers(layout)
            _forget_containers(layout)
            _stop(layout, ["containerd"])
            leftovers.kill_containers(layout)
        with step("mounts"):
            leftovers.unmount([layout.run, layout.state])
        with step("network"):
            network.down()
        with step("files"):
            leftovers.remove_cgroups()
            leftovers.remove_cni_results()
            leftovers.remove_kubelet_files(layout)
            _remove_files(layout, images=images)


def _recorded(layout: Layout) -> list[str]:
    return [file.name for file in layout.processes.glob("*") if not file.suffix]


def _stop(layout: Layout, names: Sequence[str]) -> None:
    """End recorded processes, side by side; none holds anything that will be needed again."""
    with ThreadPoolExecutor() as pool:
        stops = [pool.submit(processes.stop, layout.processes / name, patience=PATIENCE_S) for name in names]
    for stop in stops:
        stop.result()


def _forget_containers(layout: Layout) -> None:
    record = processes.read(layout.processes / "containerd")
    if record and processes.is_alive(record):
        containerd.remove_containers(layout)


def _remove_files(layout: Layout, *, images: bool) -> None:
    leftovers.remove_shim_sockets()
    if layout.run.exists():
        shutil.rmtree(layout.run)
    for entry in layout.state.glob("*"):
        if entry != layout.images or images:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
