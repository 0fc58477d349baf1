"""Say where a decoding step's time goes: `python -m benchmarks.profile`. A minute on two cores.

Times are those of one thread, the one that drives the engine; a product that several threads share counts as long as
that thread waits for it. What no operation of torch accounts for is Python's: planning, layout, dispatch.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import describe
from benchmarks.serving.__main__ import a_request, open_model
from benchmarks.serving.ways import CAPACITY, NO_TEXT
from llama_inference.backends.batching import PlannedJob
from llama_inference.backends.native import plan_jobs
from llama_inference.engine import processors
from llama_inference.scheduler.batching.batch import Batch
from tests.support.models import SMOLLM2, models_dir

PARTS: Final = {
    "linear layers": ("linear", "addmm", "mm", "bmm", "matmul", "mkldnn"),
    "attention": ("scaled_dot_product", "flash_attention", "softmax"),
    "choosing tokens": ("log_softmax", "topk", "max", "sort", "gather", "argmax", "isfinite", "where"),
    "normalization and activation": ("rms_norm", "silu", "mul", "rsqrt", "pow", "mean", "add"),
    "copies and indices": ("copy", "index", "cat", "clone", "fill", "contiguous", "to"),
}


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(processors.found().threads)
    model = open_model(models_dir() / SMOLLM2, asked.dtype)
    rows = [
        {"callers": callers, "beams": beams, **shares(Batch(model.engine, CAPACITY), jobs)}
        for beams in asked.beams
        for callers in asked.callers
        for jobs in [plan_jobs(a_request(model, callers, beams, asked.tokens), model.packed, NO_TEXT)]
    ]
    facts = {"model": SMOLLM2, "dtype": asked.dtype, "tokens": str(asked.tokens), **describe()}
    table = render(facts, rows)
    name = f"profile-{asked.dtype}"
    (asked.out / f"{name}.md").write_text(table)
    (asked.out / f"{name}.json").write_text(json.dumps({"machine": facts, "rows": rows}, indent=2) + "\n")
    print(table)


def shares(batch: Batch, jobs: list[PlannedJob]) -> dict[str, float]:
    """Return each part's share of the decoding steps' time, and the milliseconds of a step."""
    for job in jobs:
        batch.submit(job)
    while len(batch.step()) < len(jobs):
        pass
    seconds, steps = 0.0, 0
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        while not batch.idle:
            began = time.perf_counter()
            batch.step()
            seconds += time.perf_counter() - began
            steps += 1
    found = dict.fromkeys((*PARTS, "other"), 0.0)
    for event in profiled.key_averages():
        found[part_of(event.key)] += event.self_cpu_time_total / 1e6
    found["Python"] = max(0.0, seconds - sum(found.values()))
    batch.executor.reset()
    return {"step_ms": 1e3 * seconds / steps, **{part: found[part] / seconds for part in (*PARTS, "other", "Python")}}


def part_of(operation: str) -> str:
    """The part that an operation of torch belongs to, by its name."""
    name = operation.removeprefix("aten::").strip("_")
    for part in ("choosing tokens", *PARTS):
        if name.startswith(PARTS[part]):
            return part
    return "other"


def render(facts: dict[str, str], rows: list[dict[str, float]]) -> str:
    """Return the facts and the shares as Markdown."""
    names = list(rows[0])
    lines = ["# Where a decoding step's time goes", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["| " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        cells = [str(row["callers"]), str(row["beams"]), f"{row['step_ms']:.1f}"]
        lines.append("| " + " | ".join([*cells, *(f"{100 * row[name]:.0f} %" for name in names[3:])]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
