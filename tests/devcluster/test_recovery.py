"""The cluster is killed, torn and damaged; `devcluster up` mends it, and `devcluster down` leaves nothing.

The last tests begin from an empty cluster: whatever else ran on it is gone after them.
"""

import json
import os
import subprocess
import time
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

import pytest

from devcluster import leftovers, processes
from devcluster.layout import BRIDGE, NETWORK
from tests.support import devcluster
from tests.support.cluster import Namespace
from tests.support.devcluster import EVERYTHING, LAYOUT, Keeper, kill, pid, pids, up
from tests.support.kubectl import kubectl

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("KUBECONFIG" in os.environ, reason="KUBECONFIG names a cluster that is not ours to kill"),
]


@pytest.fixture(scope="module")
def keeper() -> Generator[Keeper]:
    """A pod that ran before."""
    up()
    keeper = Keeper(Namespace.create())
    keeper.start()
    yield keeper
    # The last tests have taken it away with the whole cluster.
    kubectl("delete", "namespace", keeper.space.name, "--wait=false", "--ignore-not-found")


def test_a_second_start_does_nothing(keeper: Keeper) -> None:
    """No process is touched, nothing is built, and it takes seconds."""
    before, started = pids(), time.monotonic()
    printed = up()
    assert time.monotonic() - started < 10
    assert pids() == before
    steps = [line for line in printed.splitlines() if not line.startswith("node and storage")]
    assert [line for line in steps if not line.endswith("cached")] == []


@pytest.mark.parametrize(
    "names",
    [("kubelet",), ("containerd",), ("etcd",), ("kube-apiserver",), EVERYTHING],
    ids=lambda names: names[0] if len(names) == 1 else "everything",
)
def test_killed_processes_start_again_and_pods_live_on(keeper: Keeper, names: tuple[str, ...]) -> None:
    """The container that ran before still runs, and was not started again."""
    before = keeper.life()
    kill(*names)
    up()
    keeper.answers()
    assert keeper.life() == before


def test_processes_whose_records_are_lost_are_replaced(keeper: Keeper) -> None:
    """They hold the ports that new ones need."""
    before = keeper.life()
    lost = [pid(name) for name in ("etcd", "kubelet")]
    for name in ("etcd", "kubelet"):
        (LAYOUT.processes / name).unlink()
    up()
    assert [processes.started_at(one) for one in lost] == [None, None]
    keeper.answers()
    assert keeper.life() == before


def test_a_stranger_with_a_recorded_id_is_left_alone(keeper: Keeper) -> None:
    """Since the process ended, its id was given to another."""
    file = LAYOUT.processes / "kube-proxy"
    record = processes.read(file)
    assert record is not None
    with subprocess.Popen(["/bin/sleep", "600"]) as stranger:
        kill("kube-proxy")
        file.write_text(json.dumps({**asdict(record), "pid": stranger.pid}))
        up()
        assert stranger.poll() is None
        stranger.kill()
    assert pid("kube-proxy") != stranger.pid


def test_stale_sockets_and_half_a_record_are_no_hindrance(keeper: Keeper) -> None:
    """What a crash leaves where a new process must go."""
    kill("fake-gpu-plugin", "kubelet")
    assert LAYOUT.gpu_socket.is_socket()
    (LAYOUT.processes / "kubelet").write_text('{"pid": 1')
    up()
    keeper.answers()


def test_pods_whose_bridge_is_torn_start_again_with_a_link(keeper: Keeper) -> None:
    """A new bridge alone would leave them on none."""
    keeper.reaches_the_api_server()
    subprocess.run(["ip", "link", "delete", BRIDGE], check=True)
    up()
    keeper.reaches_the_api_server()


def test_a_start_that_was_killed_is_taken_up_by_the_next(keeper: Keeper) -> None:
    """It holds no lock, and what it started is known."""
    before = keeper.life()
    kill("etcd", "kube-apiserver", "kubelet")
    with subprocess.Popen([devcluster.COMMAND, "up"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as killed:
        assert killed.stderr is not None
        # etcd runs by then, and the API server is on its way.
        assert any(b"etcd" in line and b"kube" not in line for line in killed.stderr if not line.startswith(b"build"))
        killed.kill()
    up()
    keeper.answers()
    assert keeper.life() == before


def restart_the_machine() -> None:
    """Leave what a restart leaves: files, and of them those under run from another boot, but nothing that lives."""
    kill(*EVERYTHING)
    leftovers.kill_containers(LAYOUT)
    subprocess.run(["ip", "link", "delete", BRIDGE], check=True)
    (LAYOUT.run / "boot").write_text("another boot")


def test_after_the_machines_restart_pods_run_again(keeper: Keeper) -> None:
    """Their containers are new, their objects and the network are as they were; a stale mount is gone."""
    before = keeper.life()
    restart_the_machine()
    stale = LAYOUT.run / "stale"
    stale.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", stale], check=True)
    up()
    keeper.reaches_the_api_server()
    assert keeper.life() != before
    assert not stale.exists()


def test_damaged_data_are_set_aside_for_an_empty_cluster(keeper: Keeper) -> None:
    """All that stands on etcd starts anew with it, and the old data are kept."""
    kill("etcd")
    database = LAYOUT.etcd / "member" / "snap" / "db"
    os.truncate(database, 3000)
    assert "data are damaged" in up()
    assert (LAYOUT.etcd.with_name("etcd.damaged") / "member" / "snap" / "db").stat().st_size == 3000
    fresh = Keeper(Namespace.create())
    fresh.start()
    fresh.reaches_the_api_server()


def outside(folder: str, pattern: str) -> set[Path]:
    """What lies in a folder that is not the cluster's own."""
    return set(Path(folder).glob(pattern))


def test_down_leaves_nothing_but_images(keeper: Keeper) -> None:
    """No process, mount, link, rule or file; the next cluster finds the images where they were."""
    images = devcluster.images()
    containers = devcluster.containers()
    assert containers
    devcluster.devcluster("down")
    assert leftovers.cluster_processes(LAYOUT) | leftovers.shims(LAYOUT) == set()
    assert leftovers.mounts_below(Path("/proc/mounts").read_text(), [LAYOUT.state, LAYOUT.run]) == []
    assert BRIDGE not in devcluster.links()
    rules = devcluster.packet_filter()
    assert not any(word in rules for word in ("KUBE-", "CNI-", NETWORK))
    assert not LAYOUT.run.exists()
    assert [path.name for path in LAYOUT.state.iterdir()] == [LAYOUT.images.name]
    assert outside("/var/lib/cni/results", f"{NETWORK}-*") == set()
    logs = outside("/var/log/containers", "*.log")
    assert not any(link.is_symlink() and link.readlink().is_relative_to(LAYOUT.state) for link in logs)
    assert {path.name for path in outside("/sys/fs/cgroup", "**/k8s.io/*/")}.isdisjoint(containers)
    up()
    assert images.items() <= devcluster.images().items()
    fresh = Keeper(Namespace.create())
    fresh.start()
    fresh.reaches_the_api_server()
    fresh.space.delete()
