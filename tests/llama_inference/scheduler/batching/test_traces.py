"""What holds in every step of every history: arrivals, ends, hang-ups and shortages, as hypothesis thinks them up.

The engine is replaced by the least that can be: it holds each slot's content as a list, so that a copy that comes too
late, a slot given to two, or a token read twice shows.
"""

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_inference.engine.native.plan import Add, Copy, Drop, Place, Report, SlabShape, StepPlan
from llama_inference.scheduler.batching.planner import Budgets, Planner
from llama_inference.scheduler.batching.slabs import Slabs

SEEDS = range(30)
MOST_STEPS = 150


@dataclass(slots=True)
class Asked:
    """A job as its owner knows it."""

    width: int
    prompt: list[int]
    output: int  # tokens until it ends
    said: list[int] = field(default_factory=list[int])
    entries: int = 0

    @property
    def most(self) -> int:
        """Entries that it may need: each beam may have its own past."""
        return len(self.prompt) + self.output * self.width

    @property
    def text(self) -> list[int]:
        """What must be in its slot before it chooses a token."""
        return self.prompt + (self.said if self.width == 1 else [])


class Ledger:
    """An engine that keeps account of slots instead of computing."""

    def __init__(self, chance: random.Random) -> None:
        self.jobs: dict[int, Asked] = {}
        self.slabs: dict[int, SlabShape] = {}
        self.content: dict[Place, list[int]] = {}
        self._chance = chance

    def step(self, plan: StepPlan) -> list[Report]:
        """Carry out a plan, and fail where it makes no sense."""
        for number in plan.restarts:
            job = self.jobs[number]
            job.entries = 0
            if job.width > 1:
                job.said = []
        self._change(plan)
        assert len(set(plan.places.values())) == len(plan.places), "two jobs share a slot"
        assert not set(plan.decodes) & {prefill.job for prefill in plan.prefills}
        reports: list[Report] = []
        for prefill in plan.prefills:
            job, place = self.jobs[prefill.job], plan.places[prefill.job]
            content = self.content.setdefault(place, [])
            assert content[: prefill.start] == job.text[: prefill.start], "what was read before is not there"
            content[prefill.start :] = job.text[prefill.start : prefill.start + prefill.tokens]
            assert prefill.last == (prefill.start + prefill.tokens == len(job.text))
            if prefill.last:
                reports.append(self._choose(prefill.job, len(content)))
        for number in plan.decodes:
            job, place = self.jobs[number], plan.places[number]
            used = min(job.entries + self._chance.randint(min(1, job.width), job.width), job.most)
            assert used <= self.slabs[place.slab].capacity, "more entries than the slot has"
            assert self.slabs[place.slab].width == job.width
            if job.width == 1:
                assert self.content[place] == job.text[:-1], "the past is not what was said"
                self.content[place].append(job.text[-1])
            reports.append(self._choose(number, used))
        return reports

    def _change(self, plan: StepPlan) -> None:
        for each in plan.memory:
            match each:
                case Add(slab, shape):
                    assert slab not in self.slabs
                    self.slabs[slab] = shape
                case Drop(slab):
                    del self.slabs[slab]
                    self.content = {place: text for place, text in self.content.items() if place.slab != slab}
                    assert all(place.slab != slab for place in plan.places.values())
                case Copy(source, target, entries):
                    assert {source.slab, target.slab} <= self.slabs.keys()
                    self.content[target] = self.content[source][:entries]

    def _choose(self, number: int, entries: int) -> Report:
        job = self.jobs[number]
        job.entries = entries
        job.said.append(self._chance.randrange(100))
        done = () if len(job.said) >= job.output else None
        return Report(job=number, tokens=(job.said[-1],), entries=entries, done=done)


def a_job(chance: random.Random, rows: int, entries: int) -> Asked:
    """A job that fits, small or large, maybe with a common beginning."""
    while True:
        width = chance.choice((1, 1, 1, 2, 4))
        beginning = list(range(chance.choice((0, 20, 40))))
        prompt = [*beginning, *(chance.randrange(100) for _ in range(chance.choice((1, 5, 30))))]
        job = Asked(width, prompt, chance.randint(1, 60))
        if width <= rows and job.most <= entries:
            return job


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    steps_of_arrivals=st.integers(1, MOST_STEPS),
    arrivals=st.sampled_from((0.1, 0.3, 0.9)),
    hang_ups=st.sampled_from((0.0, 0.05, 0.3)),
    entries=st.sampled_from((256, 512, 2048)),
    rows=st.sampled_from((4, 7, 16)),
    reads=st.sampled_from((1, 10, 64)),
    shape=st.sampled_from(((16, 64), (16, 128), (64, 64), (64, 128))),
)
def test_every_history_keeps_the_promises(
    *,
    seed: int,
    steps_of_arrivals: int,
    arrivals: float,
    hang_ups: float,
    entries: int,
    rows: int,
    reads: int,
    shape: tuple[int, int],
) -> None:
    """Budgets hold in every step, the oldest job never loses its place, every job ends, and nothing is left behind."""
    chance = random.Random(seed)  # noqa: S311 - repeats
    budgets = Budgets(rows=rows, tokens=rows + reads)
    slabs = Slabs(entries, smallest=shape[0], slab=shape[1])
    planner, ledger = Planner(slabs, budgets), Ledger(chance)
    arrived = ended = given_up = steps = 0
    while steps < steps_of_arrivals or ledger.jobs:
        if steps < steps_of_arrivals and chance.random() < arrivals:
            job = a_job(chance, rows, entries)
            planner.add(arrived, width=job.width, text=job.prompt, most=job.most)
            ledger.jobs[arrived] = job
            arrived += 1
        if ledger.jobs and chance.random() < hang_ups:
            hangs_up = chance.choice(list(ledger.jobs))
            planner.remove(hangs_up)
            del ledger.jobs[hangs_up]
            given_up += 1
        oldest = min(ledger.jobs, default=None)
        plan = planner.plan()
        reports = ledger.step(plan)
        planner.advance(plan, reports)
        for report in reports:
            if report.ended:
                del ledger.jobs[report.job]
                ended += 1
        if oldest is not None:
            # It may begin anew in a larger slot of its own, but is the first to get one.
            assert oldest not in plan.restarts or oldest in plan.places, "the oldest gave way to another"
        decoding = sum(ledger.jobs[n].width if n in ledger.jobs else 0 for n in plan.decodes)
        assert decoding <= rows
        assert decoding + sum(prefill.tokens for prefill in plan.prefills) <= budgets.tokens
        assert slabs.held <= entries
        assert slabs.in_use == planner.running
        assert planner.running + planner.waiting == len(ledger.jobs)
        steps += 1
        assert steps < 20_000, "a job starves"
    assert ended + given_up == arrived
    assert slabs.in_use == 0
    assert planner.plan().empty


def test_histories_cover_what_they_are_for() -> None:
    """Over all seeds jobs give way, move, copy beginnings, and hang up; else the promises above would be empty."""
    seen: set[str] = set()
    for seed in SEEDS:
        chance = random.Random(seed)  # noqa: S311 - repeats
        planner = Planner(Slabs(256, smallest=16, slab=64), Budgets(rows=8, tokens=24))
        ledger = Ledger(chance)
        for number in range(12):
            job = ledger.jobs[number] = a_job(chance, 8, 256)
            planner.add(number, width=job.width, text=job.prompt, most=job.most)
        while ledger.jobs:
            plan = planner.plan()
            seen |= {"gives way"} if plan.restarts else set()
            seen |= {type(each).__name__ for each in plan.memory}
            seen |= (
                {"found in place"} if plan.found and not any(isinstance(each, Copy) for each in plan.memory) else set()
            )
            reports = ledger.step(plan)
            planner.advance(plan, reports)
            for report in reports:
                if report.ended:
                    del ledger.jobs[report.job]
    assert seen == {"gives way", "found in place", "Add", "Drop", "Copy"}
