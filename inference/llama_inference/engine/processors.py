"""What of the processors may be counted on: how many threads compute, and how they wait for each other.

Threads that share a product wait for the slowest of them. Torch's OpenMP library lets them spin meanwhile, for some
milliseconds, which is fastest where nobody else wants the processor. Where somebody does, who spins uses up the share
of the processor that the one waited for would need, and speed falls off a cliff: `python -m benchmarks.sharing`.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
WAIT_POLICY: Final = "OMP_WAIT_POLICY"  # of the OpenMP standard, so of any library that a build of torch may bring
CHOSEN_BY_HAND: Final = (WAIT_POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True, slots=True)
class Processors:
    """What a container has.

    Attributes:
        cpus: how many it may run on.
        quota: how many it gets at most, in CPUs; None where there is no limit.
        request: how many it gets whatever its neighbours do, in CPUs; None where nobody says.
    """

    cpus: int
    quota: float | None = None
    request: float | None = None

    @property
    def threads(self) -> int:
        """How many threads compute: more than the quota would only wait, stopped for the rest of each period.

        Not fewer for a small request: what neighbours leave over is worth having.
        """
        return max(1, min(self.cpus, math.ceil(self.quota or self.cpus)))

    @property
    def shared(self) -> bool:
        """Whether a thread may have to wait for one that others keep from running."""
        return min(self.quota or self.cpus, self.cpus if self.request is None else self.request) < self.threads


def found(cgroup: Path = CGROUP, affinity: Iterable[int] | None = None) -> Processors:
    """Look at what the kernel tells this process: its affinity, and its control group's limit and weight."""
    cpus = len(set(os.sched_getaffinity(0) if affinity is None else affinity))
    return Processors(cpus, _quota_v2(cgroup) or _quota_v1(cgroup), _request_v2(cgroup) or _request_v1(cgroup))


def waiting(processors: Processors, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what to set before torch is loaded, so that threads sleep while they wait where processors are shared.

    Nothing where they are not, or where somebody has chosen by hand.
    """
    if not processors.shared or any(name in environment for name in CHOSEN_BY_HAND):
        return {}
    return {WAIT_POLICY: "PASSIVE"}


def _quota_v2(cgroup: Path) -> float | None:
    fields = _read(cgroup / "cpu.max").split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return int(fields[0]) / int(fields[1])


def _quota_v1(cgroup: Path) -> float | None:
    quota, period = (_read(cgroup / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _request_v2(cgroup: Path) -> float | None:
    """The request that a kubelet has made a weight of, in one of two ways; the lesser, where they differ.

    The older way is a straight line, the newer one (runc 1.3.2, crun 1.23) gives a request of 1 the weight 100. To
    sleep without need costs little, to spin among neighbours costs much.
    """
    weight = _read(cgroup / "cpu.weight").strip()
    if not weight.isdigit() or int(weight) < 1:
        return None
    straight = 2 + (int(weight) - 1) * 262142 / 9999
    bent = 2 ** ((math.sqrt(125**2 + 4 * 612 * (math.log10(int(weight)) + 7 / 34)) - 125) / 2)
    return min(straight, bent) / 1024


def _request_v1(cgroup: Path) -> float | None:
    shares = _read(cgroup / "cpu" / "cpu.shares").strip()
    # The root of all groups has a weight too, which says nothing: it has no neighbours.
    if not shares.isdigit() or (cgroup / "cpu" / "release_agent").exists():
        return None
    return int(shares) / 1024


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
