"""Measure the server's own cost: `python -m benchmarks.overhead`. A minute; prints and writes the table."""

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import describe, load
from benchmarks.overhead.callers import Answered, ask_again_and_again, stream_all
from tests.llama_inference.process import MOCK, MODULE, Process

STREAMS: Final = (1, 100, 1000)
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of streams.

    Attributes:
        ms_per_token: wall-clock time of all streams, divided by their tokens.
        server_ms_per_token: processor time of the server alone, likewise.
        first_token_ms: from the request to its first event, the middle of all.
        requests_per_second: answers of one token, as many callers at once as there are streams.
        load: processes that wanted to run in the minute before.
    """

    streams: int
    tokens: int
    ms_per_token: float
    server_ms_per_token: float
    first_token_ms: float
    requests_per_second: float
    load: float


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=list(STREAMS))
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each stream")
    parser.add_argument("--rounds", type=int, default=3, help="the middle one counts")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long requests a second are counted")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    settings = {
        "LLAMA_INFERENCE_MAX_CONCURRENT_SEQUENCES": str(max(asked.streams)),
        "LLAMA_INFERENCE_MAX_QUEUE": str(max(asked.streams)),
    }
    with Process(*MODULE, **MOCK, **settings) as server:
        server.ready(60)
        asyncio.run(stream_all(server.url, 1, 8))  # what is set up lazily
        rows = [measure(server, streams, asked.tokens, asked.rounds, asked.seconds) for streams in asked.streams]
    print(write(asked.out, describe(), rows))


def measure(server: Process, streams: int, tokens: int, rounds: int, seconds: float) -> Row:
    """Measure one number of streams, more rounds where there are few tokens in one."""
    runs: list[tuple[float, float, float]] = []
    many = max(1, 20 // streams)
    for _ in range(rounds):
        before, began = processor_seconds(server.pid), time.perf_counter()
        answered = [each for _ in range(many) for each in asyncio.run(stream_all(server.url, streams, tokens))]
        wall, used = time.perf_counter() - began, processor_seconds(server.pid) - before
        count = sum(each.tokens for each in answered)
        runs.append((1e3 * wall / count, 1e3 * used / count, middle_first(answered)))
    row = Row(
        streams=streams,
        tokens=tokens,
        ms_per_token=middle([run[0] for run in runs]),
        server_ms_per_token=middle([run[1] for run in runs]),
        first_token_ms=middle([run[2] for run in runs]),
        requests_per_second=asyncio.run(ask_again_and_again(server.url, streams, seconds)),
        load=load(),
    )
    print(row, flush=True)
    return row


def processor_seconds(pid: int) -> float:
    """What a process has used of processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def middle_first(answered: list[Answered]) -> float:
    """Milliseconds to the first token, the middle of all."""
    return 1e3 * middle([each.first_s for each in answered])


def middle(values: list[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]


def write(folder: Path, facts: dict[str, str], rows: list[Row]) -> str:
    """Write the table for people and for programs; return the first."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# The server's own cost", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["| streams | ms a token | of it the server's processor | first token ms | requests/s |", "|---" * 5 + "|"]
    lines += [
        f"| {row.streams} | {row.ms_per_token:.3f} | {row.server_ms_per_token:.3f} | {row.first_token_ms:.1f} "
        f"| {row.requests_per_second:.0f} |"
        for row in rows
    ]
    table = "\n".join(lines) + "\n"
    (folder / "overhead.md").write_text(table)
    content = {"machine": facts, "rows": [asdict(row) for row in rows]}
    (folder / "overhead.json").write_text(json.dumps(content, indent=2) + "\n")
    return table


if __name__ == "__main__":
    main()
