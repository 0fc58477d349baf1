"""What the machine offers: which dtype `auto` means, and how much memory is free; `processors` has the rest."""

from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
MEMINFO: Final = Path("/proc/meminfo")
CPUINFO: Final = Path("/proc/cpuinfo")
BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16", "asimdbf16"})


def choose_dtype(setting: str, *, gpu: bool, native_bf16: bool) -> str:
    """Return `float32`, `float16` or `bfloat16`.

    `auto` is float16 on a GPU, and on a CPU the widest type whose products the processor computes natively at twice
    the speed of float32: bfloat16 where it can, else float32.
    """
    if setting != "auto":
        return setting
    if gpu:
        return "float16"
    return "bfloat16" if native_bf16 else "float32"


def has_native_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 natively."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(BF16_FLAGS & set(line.split()) for line in lines if line.lower().startswith(("flags", "features")))


def free_memory(device: str) -> int:
    """Bytes that may still be taken on `device` (`cpu`, `cuda:0`): on a CPU the machine's, or the cgroup's if less."""
    if device.startswith("cuda"):
        import torch  # noqa: PLC0415 - this module is also read where there is no torch

        return torch.cuda.mem_get_info(device)[0]
    fields = dict(line.split(":", 1) for line in _read(MEMINFO).splitlines() if ":" in line)
    machine = int(fields.get("MemAvailable", "0 kB").split()[0]) * 1024
    limit = _read(CGROUP / "memory.max").strip() or _read(CGROUP / "memory" / "memory.limit_in_bytes").strip()
    used = _read(CGROUP / "memory.current").strip() or _read(CGROUP / "memory" / "memory.usage_in_bytes").strip()
    if limit.isdigit() and used.isdigit():
        return max(0, min(machine, int(limit) - int(used)))
    return machine


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
