"""Measure serving: `python -m benchmarks.serving`. Ten minutes on two cores; prints and writes the table."""

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.machine import describe, load
from benchmarks.serving import report, ways
from benchmarks.serving.measured import Measured
from benchmarks.serving.plot import plot
from benchmarks.serving.vllm_peer import VllmPeer, installed
from llama_inference.engine import processors
from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.engine import Engine
from llama_inference.values import Generation
from tests.support.models import SMOLLM2, models_dir

CALLERS: Final = (1, 8, 32)
ALONE: Final = 2  # callers that the one-at-a-time way is measured with: its rate does not depend on how many wait
QUESTION: Final = "This is caller {}. Tell me what a llama eats on the Altiplano in winter, and why it spits at people."


@dataclass(frozen=True, slots=True)
class Model:
    """One model: as transformers has it, and packed for the engine."""

    plain: Pretrained
    packed: Pretrained
    engine: Engine
    tokenizer: Pretrained


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--model", type=Path, help="folder of a model; SmolLM2-135M-Instruct by default")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--tokens", type=int, default=64, help="output tokens of each request")
    parser.add_argument("--rounds", type=int, default=3, help="the middle one counts")
    parser.add_argument("--callers", type=int, nargs="+", default=list(CALLERS))
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--without-vllm", action="store_true", help="leave vLLM out although it is installed")
    parser.add_argument("--vllm-eager", action="store_true", help="without vLLM's compiler, which takes minutes once")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    torch.set_num_threads(processors.found().threads)
    model = open_model(asked.model or models_dir() / SMOLLM2, asked.dtype)
    folder = asked.model or models_dir() / SMOLLM2
    python = None if asked.without_vllm else installed()
    peer = VllmPeer(python, folder, asked.dtype, eager=asked.vllm_eager) if python else None
    try:
        rows = [
            measure(model, peer, callers=callers, beams=beams, tokens=asked.tokens, rounds=asked.rounds)
            for beams in asked.beams
            for callers in asked.callers
        ]
    finally:
        if peer is not None:
            peer.close()
    name = asked.model.name if asked.model else SMOLLM2
    asked_for = {"model": name, "dtype": asked.dtype, "tokens": str(asked.tokens), "rounds": str(asked.rounds)}
    facts = {**asked_for, **describe(), "vllm": peer.version if peer else "not installed (tools/vllm.sh)"}
    print(report.write(asked.out, facts, rows))
    if not plot(rows, f"{name}, {asked.dtype}, {facts['processor']}", asked.out / f"serving-{asked.dtype}.svg"):
        print("no picture: matplotlib is not installed (uv sync --group benchmarks)")


def open_model(folder: Path, dtype: str) -> Model:
    """Load the model twice: the peers get it as transformers has it."""
    load_one = partial(AutoModelForCausalLM.from_pretrained, folder, dtype=getattr(torch, dtype))
    plain, packed = load_one().eval(), load_one().eval()
    for each in (plain, packed):
        each.generation_config = GenerationConfig()
    return Model(plain, packed, Engine.of(packed, max_context=2048), AutoTokenizer.from_pretrained(folder))


def measure(model: Model, peer: VllmPeer | None, *, callers: int, beams: int, tokens: int, rounds: int) -> report.Row:
    """Measure every way at one number of callers; the ways take turns, so that a disturbance hits all of them."""
    request = a_request(model, callers, beams, tokens)
    few = a_request(model, min(callers, ALONE), beams, tokens)
    once = ways.bound(model.engine.weights, callers * beams)
    once()
    runs: dict[str, list[Measured]] = {"native": [], "alone": [], "batching": [], "vllm": []}
    steps: list[ways.Steps] = []
    began = time.monotonic()
    for _ in range(rounds):
        steps.append(ways.native_steps(model.engine, model.packed, request, once))
        runs["native"].append(ways.native(model.engine, model.packed, request))
        runs["alone"].append(ways.one_at_a_time(model.plain, few, callers))
        if beams == 1:
            runs["batching"].append(ways.transformers_batching(model.plain, request))
        if peer is not None:
            runs["vllm"].append(peer.measure(request.prompts, tokens, beams))
    row = report.Row(
        callers=callers,
        beams=beams,
        native=middle(runs["native"]),
        first_tokens={way: middle_of_firsts(found) for way, found in runs.items()},
        alone=middle(runs["alone"]),
        batching=middle(runs["batching"]),
        vllm=middle(runs["vllm"]),
        step_ms=1e3 * ways.middle([each.step for each in steps]),
        bound_ms=1e3 * ways.middle([each.bound for each in steps]),
        load=load(),
    )
    print(f"{callers} callers, {beams} beams: {time.monotonic() - began:.0f} s", row, flush=True)
    return row


def a_request(model: Model, callers: int, beams: int, tokens: int) -> Generation:
    """One prompt a caller, all of the same length within a token or two, and no end before the last token."""
    prompts = [tuple(model.tokenizer(QUESTION.format(number + 10))["input_ids"]) for number in range(callers)]
    shortest = min(len(prompt) for prompt in prompts)
    cut = tuple(prompt[:shortest] for prompt in prompts)
    parameters = {"num_beams": beams, "do_sample": False, "eos_token_id": None}
    return Generation(prompts=cut, max_tokens=shortest + tokens, parameters=parameters)


def middle(runs: list[Measured]) -> float | None:
    """The median rate, None where the way does not exist."""
    return ways.middle([run.tokens_per_second for run in runs]) if runs else None


def middle_of_firsts(runs: list[Measured]) -> float | None:
    """The median mean time to the first token, None where a way does not tell it."""
    firsts = [run.first_token_seconds for run in runs if run.first_token_seconds is not None]
    return ways.middle(firsts) if firsts else None


if __name__ == "__main__":
    main()
