"""One way to compute, in a process of its own: `python -m benchmarks.sharing.decoding THREADS`, driven by a pipe.

Says `ready` once the model is there; for each line of standard input, a number of seconds, decodes that long and prints
one line of JSON. How threads wait is read from the environment when torch is loaded.
"""

import json
import sys
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.serving.ways import NO_TEXT
from llama_inference.backends.batching import Capacity
from llama_inference.backends.native import plan_jobs
from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.engine import Engine
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.values import Generation
from tests.support.models import SMOLLM2, models_dir

CONTEXT = 1024


def main() -> None:
    """Load, then decode whenever asked."""
    torch.set_num_threads(int(sys.argv[1]))
    model: Pretrained = AutoModelForCausalLM.from_pretrained(models_dir() / SMOLLM2, dtype=torch.float32).eval()
    batch = Batch(Engine.of(model, max_context=CONTEXT), Capacity(rows=4, tokens=64, entries=4 * CONTEXT))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(decoded(batch, model, float(line))), flush=True)


def decoded(batch: Batch, model: Pretrained, seconds: float) -> dict[str, Any]:
    """Decode for so long; return the tokens, and the seconds of time and of processor time that they took."""
    began, cpu = time.perf_counter(), time.process_time()
    tokens = 0
    while time.perf_counter() - began < seconds:
        if batch.idle:
            request = Generation(
                prompts=(tuple(range(100, 108)),), max_tokens=128, parameters={"do_sample": False, "eos_token_id": None}
            )
            (job,) = plan_jobs(request, model, NO_TEXT)
            batch.submit(job)
        tokens += sum(len(report.tokens) for report in batch.step())
    return {"tokens": tokens, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}


if __name__ == "__main__":
    main()
