"""vLLM as a peer, where `tools/vllm.sh` has installed it: its own process, in its own environment.

Run as a script by that environment's Python: reads a request as JSON on standard input, writes what was measured.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.serving.measured import Measured


def installed() -> Path | None:
    """Return the Python of the newest environment with vLLM, None when there is none."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("LLAMA_OPERATOR_CACHE") or Path(home) / "llama-operator")
    found = sorted(cache.glob("vllm-*/.complete"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent / "bin" / "python" if found else None


class VllmPeer:
    """One vLLM that is kept between measurements; loading it takes longer than they do.

    It is stopped in between: its processes wait by looking again and again, which would cost the others a processor.
    """

    def __init__(self, python: Path, folder: Path, dtype: str, *, eager: bool = False) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.serving.vllm_peer", str(folder), dtype, "eager" if eager else "compiled"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "2"},
        )
        self.version: str = self._next()["version"]
        self._all(signal.SIGSTOP)

    def _all(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        os.killpg(self._process.pid, number)

    def measure(self, prompts: tuple[tuple[int, ...], ...], tokens: int, beams: int) -> Measured:
        """Answer all prompts at once, greedily or by a search; raises RuntimeError when vLLM has ended."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._all(signal.SIGCONT)
        self._process.stdin.write(json.dumps({"prompts": prompts, "tokens": tokens, "beams": beams}) + "\n")
        self._process.stdin.flush()
        found = self._next()
        self._all(signal.SIGSTOP)
        return Measured(found["tokens_per_second"], found["first_token_seconds"])

    def _next(self) -> dict[str, Any]:
        """Return the next line that is ours; vLLM writes others."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self._process.stdout:
            if line.startswith('{"vllm"'):
                return json.loads(line)["vllm"]
        raise RuntimeError(f"vLLM ended with exit code {self._process.wait()}")

    def close(self) -> None:
        """End it, and all that it started."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._all(signal.SIGCONT)
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._all(signal.SIGKILL)
            self._process.wait()


def _serve(folder: str, dtype: str, compiler: str) -> Iterator[dict[str, Any]]:
    import time  # noqa: PLC0415
    from importlib import import_module  # noqa: PLC0415

    vllm: Any = import_module("vllm")
    beam_params: Any = import_module("vllm.sampling_params").BeamSearchParams
    engine = vllm.LLM(
        folder,
        dtype=dtype,
        max_model_len=2048,
        max_num_seqs=128,
        max_logprobs=64,
        enforce_eager=compiler == "eager",
        disable_log_stats=False,  # they hold the first tokens' times
    )
    yield {"version": vllm.__version__}
    for line in sys.stdin:
        asked = json.loads(line)
        prompts = [{"prompt_token_ids": prompt} for prompt in asked["prompts"]]
        first = None
        began = time.perf_counter()
        if asked["beams"] == 1:
            params = vllm.SamplingParams(temperature=0, max_tokens=asked["tokens"], ignore_eos=True, detokenize=False)
            outputs = engine.generate(prompts, params, use_tqdm=False)
            count = sum(len(output.outputs[0].token_ids) for output in outputs)
            first = sum(output.metrics.first_token_latency for output in outputs) / len(outputs)
        else:
            params = beam_params(beam_width=asked["beams"], max_tokens=asked["tokens"], ignore_eos=True)
            engine.beam_search(prompts, params)
            count = asked["tokens"] * len(prompts)  # one sequence of each search is returned
        yield {"tokens_per_second": count / (time.perf_counter() - began), "first_token_seconds": first}


if __name__ == "__main__":
    for answer in _serve(*sys.argv[1:]):
        print("\n" + json.dumps({"vllm": answer}), flush=True)
