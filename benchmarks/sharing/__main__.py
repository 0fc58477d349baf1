"""Say how a pod's speed falls with its share of the processors: `python -m benchmarks.sharing`, as root.

Two control groups stand side by side, weighted as a kubelet weighs requests: a server that asked for 500m, and a
neighbour that asked for the rest and takes all it can get, one busy loop a processor. Both stand in one group that
outweighs whatever else the machine does. Each way of waiting is measured alone and beside the neighbour, in turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import describe
from tests.support.models import SMOLLM2

ALL: Final = 1 << 18  # the most that a group can weigh
WAYS: Final[dict[str, dict[str, str]]] = {
    "spin for 3 ms (libgomp's own)": {},
    "spin for 1 ms": {"GOMP_SPINCOUNT": "100000"},
    "spin for 0.3 ms": {"GOMP_SPINCOUNT": "30000"},
    "spin for 0.1 ms": {"GOMP_SPINCOUNT": "10000"},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}


class Group:
    """A control group of the first or the second version, weighted in shares (1024 for a CPU)."""

    def __init__(self, path: Path, shares: int) -> None:
        """Make it."""
        self._path = path
        path.mkdir()
        if (path / "cpu.shares").exists():
            (path / "cpu.shares").write_text(str(shares))
        else:
            (path / "cpu.weight").write_text(str(1 + (shares - 2) * 9999 // 262142))

    def take(self, pid: int) -> None:
        """Take a process in, with all its threads."""
        (self._path / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove it, once it is empty."""
        self._path.rmdir()


def root() -> Path:
    """Where groups of processors stand."""
    return next(path for path in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")) if path.is_dir())


@contextmanager
def groups(request_m: int, cpus: int) -> Generator[tuple[Group, Group]]:
    """The server's group and the neighbour's."""
    parent = Group(root() / f"sharing-{os.getpid()}", ALL)
    if (root() / "cgroup.subtree_control").exists():
        (root() / f"sharing-{os.getpid()}" / "cgroup.subtree_control").write_text("+cpu")
    inner = root() / f"sharing-{os.getpid()}"
    both = (
        Group(inner / "server", 1024 * request_m // 1000),
        Group(inner / "neighbour", 1024 * (1000 * cpus - request_m) // 1000),
    )
    try:
        yield both
    finally:
        for each in (*both, parent):
            each.remove()


@contextmanager
def busy(group: Group, cpus: int) -> Generator[None]:
    """A neighbour that takes all it can get."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cpus)]
    try:
        for loop in loops:
            group.take(loop.pid)
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


class Server:
    """A process that decodes when asked."""

    def __init__(self, group: Group, threads: int, how: dict[str, str]) -> None:
        """Start it in its group, and let it load."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sharing.decoding", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **how},
        )  # fmt: skip
        group.take(self._process.pid)
        self._line()

    def _line(self) -> str:
        return self._process.stdout.readline() if self._process.stdout else ""

    def decode(self, seconds: float) -> dict[str, Any]:
        """Decode for so long; see `decoding.decoded`."""
        if self._process.stdin:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        return json.loads(self._line())

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__)
    parser.add_argument("--request", type=int, default=500, help="What the server asked for, in thousandths of a CPU.")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, len(os.sched_getaffinity(0))}))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    cpus = len(os.sched_getaffinity(0))
    cases = [(threads, way) for threads in asked.threads for way in WAYS if threads > 1 or not WAYS[way]]
    found: dict[tuple[int, str, bool], list[dict[str, Any]]] = {}
    with groups(asked.request, cpus) as (own, others):
        servers = {case: Server(own, case[0], WAYS[case[1]]) for case in cases}
        try:
            for _ in range(asked.rounds):
                for case, server in servers.items():
                    server.decode(0.3)
                    found.setdefault((*case, False), []).append(server.decode(asked.seconds))
                    with busy(others, cpus):
                        found.setdefault((*case, True), []).append(server.decode(asked.seconds))
        finally:
            for server in servers.values():
                server.end()
    rows = [row(*case, found[*case, False], found[*case, True]) for case in cases]
    facts = {"model": SMOLLM2, "dtype": "float32", "request": f"{asked.request}m of {cpus} CPUs", **describe()}
    table = render(facts, rows)
    (asked.out / "sharing.md").write_text(table)
    (asked.out / "sharing.json").write_text(json.dumps({"machine": facts, "rows": rows}, indent=2) + "\n")
    print(table)


def row(threads: int, way: str, alone: list[dict[str, Any]], beside: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds."""

    def median(runs: list[dict[str, Any]], over: str) -> float:
        return statistics.median(run["tokens"] / run[over] for run in runs)

    def cpus(runs: list[dict[str, Any]]) -> float:
        return statistics.median(run["cpu_seconds"] / run["seconds"] for run in runs)

    return {
        "threads": threads, "waiting": way,
        "alone_per_s": median(alone, "seconds"), "alone_cpus": cpus(alone),
        "beside_per_s": median(beside, "seconds"), "beside_cpus": cpus(beside),
        "alone_per_cpu_s": median(alone, "cpu_seconds"), "beside_per_cpu_s": median(beside, "cpu_seconds"),
    }  # fmt: skip


def render(facts: dict[str, str], rows: list[dict[str, Any]]) -> str:
    """Return the facts and the rows as Markdown."""
    lines = ["# What a pod computes with its share of the processors", ""]
    lines += [*(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["Tokens a second for one caller, the CPUs it got, and tokens for each second of a CPU.", ""]
    lines += ["| threads | waiting | alone | CPUs | a CPU second | beside a neighbour | CPUs | a CPU second |"]
    lines += ["|---" * 8 + "|"]
    for each in rows:
        cells = [
            f"{each[f'{where}_per_s']:.1f} | {each[f'{where}_cpus']:.2f} | {each[f'{where}_per_cpu_s']:.1f}"
            for where in ("alone", "beside")
        ]
        lines.append(f"| {each['threads']} | {each['waiting']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
