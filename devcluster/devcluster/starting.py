"""Start the cluster's processes, and wait until each is healthy."""

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import uuid4

from devcluster import processes
from devcluster.components import Component
from devcluster.errors import CommandFailedError
from devcluster.layout import Layout
from devcluster.probes import ProbeError
from devcluster.progress import step

HEALTHY_WITHIN_S: Final = 90.0
DIED: Final = "ended at once"
ETCD_DAMAGE: Final = ("panic:", "crc mismatch", "invalid database", "file corrupt", "failed to read snapshot", "wal: ")


def start_row(layout: Layout, row: Sequence[Component]) -> None:
    """Start what does not run as it should, then wait for the whole row.

    Raises:
        CommandFailedError: A process ended at once, or is not healthy in time.
    """
    with step(", ".join(component.name for component in row)) as current:
        if not [component for component in row if _start(layout, component)]:
            current.cached()
        with ThreadPoolExecutor(len(row)) as pool:
            waits = [pool.submit(_wait_healthy, layout, component) for component in row]
        for wait in waits:
            wait.result()


def identify_etcd(layout: Layout) -> None:
    """Give etcd's data a new name where there are none yet."""
    if not layout.etcd.exists() or not layout.etcd_identity.exists():
        layout.etcd_identity.write_text(uuid4().hex)


def _start(layout: Layout, component: Component) -> bool:
    file = layout.processes / component.name
    record = processes.read(file)
    if record and processes.is_alive(record):
        if record.digest == component.digest() and _answers(component):
            return False
        processes.stop(file)
    _spawn(layout, component)
    return True


def _answers(component: Component) -> bool:
    """Ask a few times: on a busy machine a healthy process may miss one."""
    for _ in range(3):
        if _problem(component) is None:
            return True
        time.sleep(0.5)
    return False


def _spawn(layout: Layout, component: Component) -> None:
    processes.spawn(
        component.argv,
        file=layout.processes / component.name,
        log=layout.logs / f"{component.name}.log",
        digest=component.digest(),
    )


def _problem(component: Component) -> str | None:
    try:
        component.healthy()
    except ProbeError as error:
        return str(error)
    return None


def _wait_healthy(layout: Layout, component: Component) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    replaced = False
    while problem := _trouble(layout, component):
        died = problem == DIED
        if died and component.name == "etcd" and not replaced and _set_damaged_etcd_aside(layout):
            replaced = True
            _spawn(layout, component)
        elif died or time.monotonic() > deadline:
            log = layout.logs / f"{component.name}.log"
            output = log.read_text(errors="replace")
            what = f"{component.name} {DIED if died else f'is not healthy after {HEALTHY_WITHIN_S:.0f} s: {problem}'}"
            raise CommandFailedError(what, argv=component.argv, output=output, hint=component.hint, log=log)
        time.sleep(0.05)


def _trouble(layout: Layout, component: Component) -> str | None:
    record = processes.read(layout.processes / component.name)
    if record is None or not processes.is_alive(record):
        return DIED
    return _problem(component)


def _set_damaged_etcd_aside(layout: Layout) -> bool:
    """Move etcd's data away if its log says that they are damaged; returns whether that was so."""
    log = (layout.logs / "etcd.log").read_text(errors="replace")
    if not layout.etcd.exists() or not any(sign in log for sign in ETCD_DAMAGE):
        return False
    damaged = layout.etcd.with_name("etcd.damaged")
    if damaged.exists():
        shutil.rmtree(damaged)
    layout.etcd.rename(damaged)
    identify_etcd(layout)
    with step("etcd's data are damaged") as current:
        current.note = f"starting from an empty cluster; the old data are in {damaged}"
    return True
