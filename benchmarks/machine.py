"""What a result was measured on."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch


def describe() -> dict[str, str]:
    """The processor, how many of it, and the versions that decide."""
    return {
        "processor": processor(),
        "threads": str(torch.get_num_threads()),
        "cpus": str(len(os.sched_getaffinity(0))),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "command": f"python -m {Path(sys.argv[0]).parent.relative_to(Path.cwd()).as_posix().replace('/', '.')} "
        + " ".join(sys.argv[1:]),
    }


def processor() -> str:
    """The processor's own name for itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def load() -> float:
    """How many processes wanted to run in the last minute; well above one per CPU, a result is worth little."""
    return os.getloadavg()[0]
