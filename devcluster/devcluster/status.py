"""Observe the cluster's processes, and show them as a table."""

from dataclasses import dataclass

from devcluster import binaries, components, processes
from devcluster.layout import Layout
from devcluster.probes import ProbeError


@dataclass(frozen=True, slots=True)
class Row:
    """One process as it is now: pid is None and since empty when it does not run."""

    process: str
    pid: int | None
    healthy: bool
    since: str
    problem: str


def observe(layout: Layout) -> list[Row]:
    """Look at every process that the cluster should have."""
    programs = binaries.locate(layout)
    return [_row(layout, component) for row in components.table(layout, programs) for component in row]


def _row(layout: Layout, component: components.Component) -> Row:
    record = processes.read(layout.processes / component.name)
    if record is None or not processes.is_alive(record):
        return Row(component.name, None, healthy=False, since="", problem="not running")
    problem = ""
    try:
        component.healthy()
    except (ProbeError, OSError) as error:
        problem = str(error)
    since = duration(processes.age_seconds(record))
    return Row(component.name, record.pid, healthy=not problem, since=since, problem=problem)


def duration(seconds: float) -> str:
    """Write seconds as a person reads them: 42s, 7m, 3h05m, 2d4h."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m" if minutes else f"{int(seconds)}s"


def table(rows: list[Row]) -> str:
    """Line the rows up under a heading."""
    lines = [("PROCESS", "PID", "HEALTHY", "SINCE", "")]
    lines += [(r.process, str(r.pid or "-"), "yes" if r.healthy else "no", r.since or "-", r.problem) for r in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:4], widths, strict=True)), line[4]]).rstrip()
        for line in lines
    )
