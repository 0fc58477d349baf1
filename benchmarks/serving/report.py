"""The result as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

HEAD: Final = (
    "| callers | beams | native tok/s | one at a time tok/s | transformers batching tok/s | vLLM tok/s "
    "| native / one at a time "
    "| first token s: native | one at a time | vLLM | step ms | bound ms | bound / step |"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of callers and beams.

    Attributes:
        native, alone, batching, vllm: returned tokens a second of the whole run; None where a way does not exist.
        first_tokens: way → seconds to the first token, mean over the callers; None where a way does not tell it.
        step_ms, bound_ms: one decoding step of all callers, and the linear layers alone, taken in turns.
        load: processes that wanted to run in the minute before.
    """

    callers: int
    beams: int
    native: float | None
    alone: float | None
    batching: float | None
    vllm: float | None
    first_tokens: dict[str, float | None]
    step_ms: float
    bound_ms: float
    load: float

    @property
    def of_bound(self) -> float:
        """The share of a decoding step that the linear layers alone take."""
        return self.bound_ms / self.step_ms

    @property
    def times_alone(self) -> float | None:
        """How many times the rate of one request at a time."""
        return self.native / self.alone if self.native and self.alone else None


def write(folder: Path, facts: dict[str, str], rows: Seq[Row]) -> str:
    """Write both forms into `folder`; return the table."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"serving-{facts['dtype']}"
    table = render(facts, rows)
    (folder / f"{name}.md").write_text(table)
    measured = [{**asdict(row), "of_bound": row.of_bound, "times_alone": row.times_alone} for row in rows]
    (folder / f"{name}.json").write_text(json.dumps({"machine": facts, "rows": measured}, indent=2) + "\n")
    return table


def render(facts: dict[str, str], rows: Seq[Row]) -> str:
    """Return the facts and the table as Markdown."""
    lines = ["# Serving", "", *(f"- {name}: {value}" for name, value in facts.items()), "", HEAD, "|---" * 13 + "|"]
    for row in rows:
        ways = (row.native, row.alone, row.batching, row.vllm, row.times_alone)
        firsts = (row.first_tokens.get(way) for way in ("native", "alone", "vllm"))
        steps = (f"{row.step_ms:.1f}", f"{row.bound_ms:.1f}", f"{100 * row.of_bound:.0f} %")
        cells = (str(row.callers), str(row.beams), *map(_number, ways), *map(_seconds, firsts), *steps)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
