"""Say what scores cost that do not depend on company: `python -m benchmarks.invariance`. Some minutes on two cores.

Both engines take the same decoding steps in turns, so that what else the machine does falls on both. Counted is
processor time, that of all threads, and on one thread, so that none waits for another: the work that is done.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.machine import describe
from benchmarks.serving.ways import NO_TEXT
from llama_inference.backends.batching import Capacity
from llama_inference.backends.native import plan_jobs
from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.engine import Engine
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.values import Generation
from tests.support.models import SMOLLM2, models_dir

PROMPT = 64


class Stepping:
    """A batch of callers whose prompts have been read."""

    def __init__(self, engine: Engine, model: Pretrained, callers: int, tokens: int) -> None:
        """Take the callers in, and measure how long their prompts take: seconds of processor time a prompt."""
        self._batch = Batch(engine, Capacity(rows=64, tokens=192, entries=1 << 15))
        for caller in range(callers):
            prompt = tuple(100 + 31 * caller + place for place in range(PROMPT))
            parameters = {"do_sample": False, "eos_token_id": None}
            request = Generation(prompts=(prompt,), max_tokens=PROMPT + tokens + 2, parameters=parameters)
            (job,) = plan_jobs(request, model, NO_TEXT)
            self._batch.submit(job)
        began = time.process_time()
        while len(self._batch.step()) < callers:
            pass
        self.prompt_s = (time.process_time() - began) / callers

    def step(self) -> float:
        """Decode one token for each; return the processor time in seconds."""
        began = time.process_time()
        self._batch.step()
        return time.process_time() - began


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.invariance", description=__doc__)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 2, 8, 32])
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for dtype in asked.dtypes for row in compared(dtype, asked.callers, asked.tokens)]
    facts = {"model": SMOLLM2, "tokens": str(asked.tokens), **describe()}
    table = render(facts, rows)
    (asked.out / "invariance.md").write_text(table)
    (asked.out / "invariance.json").write_text(json.dumps({"machine": facts, "rows": rows}, indent=2) + "\n")
    print(table)


def compared(dtype: str, callers: list[int], tokens: int) -> list[dict[str, Any]]:
    """Return a row for each number of callers: both engines' medians, and their ratio."""
    model: Pretrained = AutoModelForCausalLM.from_pretrained(models_dir() / SMOLLM2, dtype=getattr(torch, dtype)).eval()
    plain = Engine.of(model, max_context=2048)
    invariant = Engine.of(model, max_context=2048, batch_invariant=True)
    rows: list[dict[str, Any]] = []
    for many in callers:
        both = [Stepping(engine, model, many, tokens) for engine in (plain, invariant)]
        taken = [[each.step() for each in both] for _ in range(tokens)]
        ms = [1e3 * statistics.median(column) for column in zip(*taken, strict=True)]
        prompts = [1e3 * each.prompt_s for each in both]
        rows.append({
            "dtype": dtype, "callers": many,
            "step_ms": ms[0], "invariant_step_ms": ms[1], "ratio": ms[1] / ms[0],
            "prompt_ms": prompts[0], "invariant_prompt_ms": prompts[1], "prompt_ratio": prompts[1] / prompts[0],
        })  # fmt: skip
        for engine in (plain, invariant):
            engine.reset()
    return rows


def render(facts: dict[str, str], rows: list[dict[str, Any]]) -> str:
    """Return the facts and the rows as Markdown."""
    lines = ["# What scores cost that do not depend on company", ""]
    lines += [*(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += [f"Milliseconds of processor time: of a decoding step, and of reading a prompt of {PROMPT} tokens.", ""]
    lines += ["| dtype | callers | step | invariant | ratio | prompt | invariant | ratio |", "|---" * 8 + "|"]
    for row in rows:
        step = f"{row['step_ms']:.1f} | {row['invariant_step_ms']:.1f} | {row['ratio']:.2f}"
        prompt = f"{row['prompt_ms']:.0f} | {row['invariant_prompt_ms']:.0f} | {row['prompt_ratio']:.2f}"
        lines.append(f"| {row['dtype']} | {row['callers']} | {step} | {prompt} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
