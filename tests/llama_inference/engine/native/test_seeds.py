"""Scores that do not depend on company, bit for bit, on any processor: then a seed cannot flip at any draw."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from llama_inference.engine.native import attention, engine, invariance
from llama_inference.engine.native.engine import Engine
from llama_inference.engine.native.invariance import InvariantNetwork
from llama_inference.engine.native.jobs import SequenceJob
from llama_inference.values import Generation
from tests.llama_inference.engine.native.bench import CONTEXT, Bench, a_prompt, a_request, tiny_model
from tests.support import tiny_llama

NEEDED: dict[str, Any] = {"num_beams": 1, "do_sample": True, "top_k": 40, "temperature": 0.8, "eos_token_id": None}
WIDE: dict[str, Any] = {"hidden_size": 192, "intermediate_size": 768}


@pytest.fixture(params=[3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many threads, whatever the processors: three divide rows and columns unevenly."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def a_bench(*, dtype: torch.dtype = torch.float32) -> Bench:
    """A model whose products are large enough to be divided between threads, and an engine free of company."""
    model = tiny_model(**WIDE).to(dtype)
    tokenizer = tiny_llama.tokenizer()
    return Bench(model, model, tokenizer, Engine.of(model, max_context=CONTEXT, batch_invariant=True))


def scores(
    bench: Bench, requests: list[Generation], monkeypatch: pytest.MonkeyPatch, **budgets: int
) -> dict[int, list[bytes]]:
    """The scores of each step of each sampled request, by the seed of its job."""
    seen: dict[int, list[bytes]] = defaultdict(list)
    choose = engine.choose

    def watched(logits: torch.Tensor, jobs: list[SequenceJob]) -> list[int | None]:
        for row, job in enumerate(jobs):
            seen[job.spec.seed].append(logits[row].contiguous().view(torch.uint8).numpy().tobytes())
        return choose(logits, jobs)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "choose", watched)
        bench.tokens(requests, **{"tokens": 40, "rows": 16, "smallest": 256, "slab": 2048, **budgets})
    bench.engine_of(bench.batch()).reset()
    return seen


def sampled(number: int, *, new: int = 20, **parameters: Any) -> Generation:
    """One of several requests, each of another length."""
    return a_request(a_prompt(18 + 23 * number, number), new=new, seed=number, **{**NEEDED, **parameters})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "dtype"),
    [(2, torch.float32), (3, torch.float32), (3, torch.bfloat16), (1, torch.float16)],
    indirect=["threads"],
)
def test_scores_do_not_depend_on_company(monkeypatch: pytest.MonkeyPatch, threads: int, dtype: torch.dtype) -> None:
    """Alone, and beside seven others and a search, whose prompts are read in other pieces: the same bits."""
    del threads
    bench = a_bench(dtype=dtype)
    others = [sampled(number) for number in range(1, 8)]
    search = a_request(a_prompt(33, 99), new=20, num_beams=4)
    alone = scores(bench, [sampled(0)], monkeypatch)
    together = scores(bench, [others[0], search, sampled(0), *others[1:]], monkeypatch)
    (mine,) = alone
    assert len(alone[mine]) == 20
    assert alone[mine] == together[mine]


@pytest.mark.slow
def test_scores_do_not_depend_on_giving_way(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Who gave way computes its keys and values anew, its own output read as text: the same bits from there on."""
    del threads
    bench = a_bench()
    requests = [sampled(number, new=120) for number in range(4)]
    alone = scores(bench, requests[3:], monkeypatch)
    (mine,) = alone
    read_again: list[int] = []
    prefills = bench.engine_of(bench.batch()).step

    def counted(plan: Any) -> Any:
        read_again.extend(plan.restarts)
        return prefills(plan)

    monkeypatch.setattr(bench.engine, "step", counted)
    crowded = scores(bench, requests, monkeypatch, entries=640, smallest=64, slab=256)
    assert read_again
    assert crowded[mine] == alone[mine]


@pytest.mark.slow
def test_scores_do_not_depend_on_what_is_kept(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """A prompt that goes on where another answer has ended finds its keys and values: the same bits as without."""
    del threads
    bench = a_bench()
    first = sampled(0, new=40)
    (answer,) = bench.tokens([first])
    again = a_request([*first.prompts[0], *answer[0], *a_prompt(5, 3)], new=20, seed=11, **NEEDED)
    bench.engine_of(bench.batch()).reset()
    alone = scores(bench, [again], monkeypatch)
    batch = bench.batch(tokens=40, rows=16, smallest=256, slab=2048)
    seen: list[bytes] = []
    choose = engine.choose

    def watched(logits: torch.Tensor, jobs: list[SequenceJob]) -> list[int | None]:
        seen.extend(row.numpy().tobytes() for row in logits)
        return choose(logits, jobs)

    def run(request: Generation) -> None:
        (job,) = bench.jobs(request)
        batch.submit(job)
        while not batch.idle:
            batch.step()

    run(first)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "choose", watched)
        run(again)
    assert [seen] == list(alone.values())


def test_each_token_attends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """To as many entries as its own position asks for, in one shape while it is read and while it is decoded.

    Not every processor's kernels make a difference of it, so that the scores above could not tell.
    """
    bench = a_bench()
    asked: Counter[tuple[int, ...]] = Counter()

    def counted(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, **mask: Any) -> torch.Tensor:
        asked[(*query.shape[:3], keys.shape[2])] += 1
        return scaled_dot_product_attention(query, keys, values, **mask)

    for module in (attention, invariance):
        monkeypatch.setattr(module, "scaled_dot_product_attention", counted)
    requests = [sampled(number, new=10) for number in range(6)]
    requests.sort(key=lambda each: len(each.prompts[0]) != 64)  # that one is read whole, and fills a block
    bench.run(requests, tokens=80, rows=16, smallest=256, slab=2048)
    entries = [-(-(at + 1) // 64) * 64 for each in requests for at in range(each.max_tokens - 1)]
    layers, kv_heads, groups = 2, 2, 2
    assert asked == Counter({(1, kv_heads, groups, many): layers * entries.count(many) for many in set(entries)})


@pytest.mark.slow
def test_answers_are_transformers_own() -> None:
    """Rows in blocks, and tokens that attend by themselves, give `generate`'s tokens: greedy ones and searches."""
    bench = a_bench()
    requests = [a_request(a_prompt(20 + 7 * n, n), new=30, num_beams=1 + 3 * (n % 2)) for n in range(6)]
    assert bench.tokens(requests) == [bench.expected(request) for request in requests]


def test_a_short_context_can_be_tried_out() -> None:
    """The trial asks for no position that the model is not opened for."""
    assert Engine.of(tiny_model(), max_context=2, batch_invariant=True).jobs == 0


@pytest.mark.parametrize("bad", [(8,), (8, 4), (8, 4, 2)])
def test_rows_are_computed_together_where_their_place_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, bad: tuple[int, ...]
) -> None:
    """A number of rows whose products differ from place to place is not used; one row has no other place."""
    plain = torch.addmm

    def by_place(residual: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        total = plain(residual, x, weight)
        return total * torch.linspace(1, 1.001, len(x))[:, None] if len(x) in bad else total

    monkeypatch.setattr(torch, "addmm", by_place)
    stepper = a_bench().engine_of(a_bench().batch())._stepper  # pyright: ignore[reportPrivateUsage]
    network = stepper._network  # pyright: ignore[reportPrivateUsage]
    assert isinstance(network, InvariantNetwork)
    assert network.block < min(bad)
