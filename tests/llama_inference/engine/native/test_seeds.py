"""Scores that do not depend on company, bit for bit, where MKL is told so: then a seed cannot flip at any draw."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from llama_inference.engine.native import engine
from llama_inference.engine.native.jobs import SequenceJob
from tests.llama_inference.engine.native.bench import Bench, a_prompt, a_request, tiny_model
from tests.support import tiny_llama

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
NEEDED: dict[str, Any] = {"num_beams": 1, "do_sample": True, "top_k": 40, "temperature": 0.8, "eos_token_id": None}


def scores_of_the_first(others: int) -> list[bytes]:
    """The scores of each step of one request, in the company of so many others."""
    model = tiny_model(hidden_size=192, intermediate_size=768, num_hidden_layers=2)
    bench = Bench(model, model, tiny_llama.tokenizer())
    seen: list[bytes] = []
    choose = engine.choose

    def watched(logits: torch.Tensor, jobs: list[SequenceJob]) -> list[int | None]:
        seen.extend(logits[row].numpy().tobytes() for row, job in enumerate(jobs) if job.spec.seed == jobs_seed)
        return choose(logits, jobs)

    requests = [a_request(a_prompt(20 + number, number), new=20, seed=number, **NEEDED) for number in range(1 + others)]
    jobs_seed = bench.jobs(requests[0])[0].spec.seed  # pyright: ignore[reportAttributeAccessIssue] - this engine's own
    engine.choose = watched  # pyright: ignore[reportAttributeAccessIssue]
    try:
        bench.run(requests, tokens=40, rows=16, smallest=256, slab=2048)
    finally:
        engine.choose = choose
    return seen


def unequal() -> int:
    """How many steps differ between a request alone and one in company, whose prompts are read in other pieces."""
    alone, together = scores_of_the_first(0), scores_of_the_first(7)
    assert len(alone) == len(together) == 20
    return sum(one != other for one, other in zip(alone, together, strict=True))


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="products are not computed by MKL here")
def test_strict_products_do_not_depend_on_company() -> None:
    """Told by MKL_CBWR, which is read when torch is loaded: in a process of its own, on two threads."""
    script = f"import torch; torch.set_num_threads(2); from {__name__} import unequal; print(unequal())"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MKL_CBWR": "AUTO,STRICT", "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.splitlines()[-1] == "0"
