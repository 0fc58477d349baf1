"""Measure masks: `python -m benchmarks.grammars`. A minute; prints and writes the table.

xgrammar is no dependency of the project: it is measured where it is installed.
"""

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import llguidance
import numpy as np
from llguidance.hf import from_tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from benchmarks.machine import describe, load
from tests.support.models import SMOLLM2, models_dir

VOCABULARY: Final = 128_256  # Llama 3's
PERSON: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "emails": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "kind": {"enum": ["wild", "tame", "unknown"]},
        "address": {"type": "object", "properties": {"street": {"type": "string"}, "zip": {"type": "string"}}},
    },
    "required": ["name", "age", "emails", "kind", "address"],
    "additionalProperties": False,
}
TEXT: Final = json.dumps(
    {
        "name": "Lama glama of the Altiplano", "age": 7, "emails": ["llama@example.com", "glama@example.org"],
        "kind": "tame", "address": {"street": "12 Andean Road, behind the second hill", "zip": "LL-1234"},
    }
)  # fmt: skip
CASES: Final[Mapping[str, dict[str, Any]]] = {"a schema": PERSON, "any object": {"type": "object"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One library on one case; times in milliseconds, of single masks on one thread.

    Attributes:
        compile_ms: from the schema to the first mask that can be asked for.
        mask_ms, slow_ms, slowest_ms: the middle one, the 99th of a hundred, and the slowest.
        copy_ms: a copy of the state, which each beam needs.
    """

    library: str
    case: str
    compile_ms: float
    mask_ms: float
    slow_ms: float
    slowest_ms: float
    copy_ms: float


def wide_tokenizer() -> PreTrainedTokenizerFast:
    """SmolLM2's tokenizer with as many tokens as Llama 3's: pairs of its own words are added to its vocabulary."""
    folder = models_dir() / SMOLLM2
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary: dict[str, int] = content["model"]["vocab"]
    words = [word for word in vocabulary if word.isascii() and word.strip("Ġ").isalpha()]
    generator = np.random.default_rng(7)
    while len(vocabulary) < VOCABULARY:
        first, second = generator.choice(len(words), 2)
        vocabulary.setdefault(words[first] + words[second].strip("Ġ"), len(vocabulary))
    return PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(json.dumps(content)),
        eos_token=tokenizer.eos_token,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One library on one case: `open` compiles, `mask` computes one mask, `take` goes on by a token."""

    library: str
    case: str
    open: Callable[[], Any]
    mask: Callable[[Any], None]
    take: Callable[[Any, int], bool]
    copy: Callable[[Any], Any]


def measure(way: Way, ids: list[int]) -> Row:  # fmt: skip
    """Walk through a text."""
    began = time.perf_counter()
    state = way.open()
    compiled = time.perf_counter() - began
    masks: list[float] = []
    copies: list[float] = []
    for token in ids:
        began = time.perf_counter()
        way.mask(state)
        masks.append(time.perf_counter() - began)
        began = time.perf_counter()
        way.copy(state)
        copies.append(time.perf_counter() - began)
        if not way.take(state, token):
            raise SystemExit(f"{way.library} refuses the text of {way.case}")
    return Row(
        library=way.library,
        case=way.case,
        compile_ms=1e3 * compiled,
        mask_ms=1e3 * statistics.median(masks),
        slow_ms=1e3 * sorted(masks)[int(0.99 * len(masks))],
        slowest_ms=1e3 * max(masks),
        copy_ms=1e3 * statistics.median(copies),
    )


def by_llguidance(tokenizer: PreTrainedTokenizerFast, case: str, ids: list[int]) -> Row:
    """Ours."""
    words = from_tokenizer(tokenizer, n_vocab=VOCABULARY)
    target = np.zeros(VOCABULARY // 32, np.int32)
    grammar = llguidance.LLMatcher.grammar_from_json_schema(CASES[case], overrides={"whitespace_flexible": True})
    way = Way(
        library=f"llguidance {llguidance.__version__}",
        case=case,
        open=lambda: llguidance.LLMatcher(words, grammar),
        mask=lambda state: state.unsafe_compute_mask_ptr(target.ctypes.data, target.nbytes),
        take=lambda state, token: state.consume_token(token),
        copy=lambda state: state.deep_copy(),
    )
    return measure(way, ids)


def by_xgrammar(xgrammar: Any, tokenizer: PreTrainedTokenizerFast, case: str, ids: list[int]) -> Row:  # noqa: ANN401 - it may not be there
    """The other."""
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=VOCABULARY)
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    target = xgrammar.allocate_token_bitmask(1, VOCABULARY)
    way = Way(
        library=f"xgrammar {version('xgrammar')}",
        case=case,
        open=lambda: xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(CASES[case]))),
        mask=lambda state: state.fill_next_token_bitmask(target),
        take=lambda state, token: state.accept_token(token),
        copy=lambda state: state.fork(),
    )
    return measure(way, ids)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grammars", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    tokenizer = wide_tokenizer()
    ids: list[int] = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    rows = [by_llguidance(tokenizer, case, ids) for case in CASES]
    try:
        xgrammar = importlib.import_module("xgrammar")
    except ImportError:
        print("xgrammar is not installed: llguidance alone is measured")
    else:
        rows += [by_xgrammar(xgrammar, tokenizer, case, ids) for case in CASES]
    table = _table(rows, len(ids))
    print(table)
    (asked.out / "grammars.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    (asked.out / "grammars.md").write_text(table)


def _table(rows: list[Row], tokens: int) -> str:
    machine = describe()
    lines = [
        "# Masks of grammars",
        "",
        f"A vocabulary of {VOCABULARY:,} tokens, an output of {tokens}; milliseconds, one mask on one thread. By",
        f"`python -m benchmarks.grammars` on {machine['cpus']} of {machine['processor']}, load {load():.1f}.",
        "",
        "| library | case | compile | mask | 99 of 100 below | slowest | copy |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = (row.compile_ms, row.mask_ms, row.slow_ms, row.slowest_ms, row.copy_ms)
        lines.append(f"| {row.library} | {row.case} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
