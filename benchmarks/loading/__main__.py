"""Measure what a rank takes to load its part: `python -m benchmarks.loading`. A minute; prints and writes the table.

Each rank loads in a process of its own, alone; the growth of its peak memory is held against the size of its part.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.machine import describe
from llama_inference.engine.parallel.member import load_part
from llama_inference.engine.parallel.topology import Topology

RANKS: Final = (1, 2, 4)
HEAD: Final = "| ranks | rank | part MB | peak grew by MB | peak / part | left MB | files MB |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rank; sizes in bytes.

    Attributes:
        part: what it read, and holds.
        peak, left: growth of the process's peak memory and of its memory, by loading.
        files: the whole model.
    """

    ranks: int
    rank: int
    part: int
    peak: int
    left: int
    files: int

    @property
    def ratio(self) -> float:
        """The growth of the peak over the part's size; 1 would be nothing but the part."""
        return self.peak / self.part


def build(folder: Path, *, layers: int, hidden: int) -> Path:
    """Write a random float32 Llama, in files of at most 100 MB as larger models are."""
    config = LlamaConfig(
        vocab_size=16_000,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="100MB")
    return folder


def measure(folder: Path, ranks: int, rank: int) -> Row:
    """Load one rank's part in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.loading", "--one", str(folder), str(ranks), str(rank)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    files = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Row(ranks=ranks, rank=rank, files=files, **json.loads(found.stdout.splitlines()[-1]))


def measure_here(folder: Path, ranks: int, rank: int) -> dict[str, int]:
    """Load one rank's part in this process; the peak counts from here on."""
    topology = Topology(per_node=ranks)
    with tempfile.TemporaryDirectory() as small:  # what is imported and set up at first use is no part of a part
        load_part(build(Path(small), layers=1, hidden=64), "float32", Topology(per_node=1), 0)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is in use
    before = _status("VmRSS")
    part = load_part(folder, "float32", topology, rank)
    return {"part": part.bytes_read, "peak": _status("VmHWM") - before, "left": _status("VmRSS") - before}


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def render(facts: dict[str, str], rows: list[Row]) -> str:
    """Return the facts and the table as Markdown."""
    lines = ["# Loading", "", *(f"- {name}: {value}" for name, value in facts.items()), "", HEAD, "|---" * 7 + "|"]
    for row in rows:
        sizes = [f"{size / 1e6:.0f}" for size in (row.part, row.peak, row.left, row.files)]
        cells = (str(row.ranks), str(row.rank), sizes[0], sizes[1], f"{row.ratio:.2f}", sizes[2], sizes[3])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "RANKS", "RANK"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure_here(Path(asked.one[0]), int(asked.one[1]), int(asked.one[2]))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = build(Path(name), layers=asked.layers, hidden=asked.hidden)
        rows = [measure(folder, ranks, rank) for ranks in RANKS for rank in range(ranks)]
    facts = {"layers": str(asked.layers), "hidden": str(asked.hidden), "dtype": "float32", **describe()}
    asked.out.mkdir(parents=True, exist_ok=True)
    table = render(facts, rows)
    (asked.out / "loading.md").write_text(table)
    measured = [{**asdict(row), "ratio": row.ratio} for row in rows]
    (asked.out / "loading.json").write_text(json.dumps({"machine": facts, "rows": measured}, indent=2) + "\n")
    print(table)


if __name__ == "__main__":
    main()
