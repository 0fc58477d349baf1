"""Who takes part in the next step, case by case; `test_traces` holds what is true of all of them."""

from collections.abc import Iterable

import pytest

from llama_inference.engine.native.plan import Copy, Prefill, Report, StepPlan
from llama_inference.scheduler.batching.planner import Budgets, Planner
from llama_inference.scheduler.batching.slabs import Slabs


class Driven:
    """A planner over slots of 16, 32, … entries, and steps that go well: every job says 7 and goes on."""

    def __init__(
        self, *, entries: int = 4096, rows: int = 8, tokens: int = 32, smallest: int = 16, slab: int = 16
    ) -> None:
        slabs = Slabs(entries, smallest=smallest, slab=slab)
        self.planner = Planner(slabs, Budgets(rows=rows, tokens=tokens))
        self.entries: dict[int, int] = {}
        self.said: dict[int, int] = {}

    def add(self, number: int, text: Iterable[int], *, width: int = 1, most: int = 100) -> None:
        """Let a job wait."""
        self.planner.add(number, width=width, text=text, most=most)
        self.said[number] = 0

    def step(self) -> StepPlan:
        """Plan a step and carry it out."""
        plan = self.planner.plan()
        chose = [*plan.decodes, *(prefill.job for prefill in plan.prefills if prefill.last)]
        for prefill in plan.prefills:
            self.entries[prefill.job] = prefill.start + prefill.tokens
        for number in plan.decodes:
            self.entries[number] += 1
        for number in chose:
            self.said[number] += 1
        self.planner.advance(plan, [Report(job=job, tokens=(7,), entries=self.entries[job]) for job in chose])
        return plan


def test_a_prompt_is_read_in_pieces_and_then_decodes() -> None:
    """Each piece is as large as the step's budget; the last one chooses the first token."""
    driven = Driven(tokens=32)
    driven.add(0, range(70))
    pieces = [driven.step().prefills for _ in range(3)]
    assert pieces == [(Prefill(0, 0, 32, False),), (Prefill(0, 32, 32, False),), (Prefill(0, 64, 6, True),)]
    assert driven.step().decodes == (0,)


def test_decoding_goes_on_while_others_read() -> None:
    """A long prompt takes what decoding leaves of the step, and delays nobody."""
    driven = Driven(tokens=32)
    for number in range(3):
        driven.add(number, [number], most=90)
    driven.step()
    driven.add(3, range(100), most=200)
    plan = driven.step()
    assert plan.decodes == (0, 1, 2)
    assert plan.prefills == (Prefill(3, 0, 29, False),)


def test_nobody_overtakes() -> None:
    """While the first in line does not fit, a smaller job behind it waits as well."""
    driven = Driven(rows=8)
    driven.add(0, [1], width=6, most=50)
    driven.add(1, [2], width=4, most=50)
    driven.add(2, [3], most=50)
    assert [prefill.job for prefill in driven.step().prefills] == [0]
    assert (driven.planner.running, driven.planner.waiting) == (1, 2)
    driven.planner.remove(0)
    assert [prefill.job for prefill in driven.step().prefills] == [1, 2]


def test_a_full_slot_is_exchanged_for_a_larger_one() -> None:
    """With its content, in the step that needs it."""
    driven = Driven()
    driven.add(0, range(30), most=300)
    before = driven.step().places[0]
    while not (plan := driven.step()).memory:
        assert plan.places[0] == before
    (copy,) = [each for each in plan.memory if isinstance(each, Copy)]
    assert (copy.source, copy.target) == (before, plan.places[0])
    assert copy.entries == driven.entries[0] - 1 == 64


def test_the_youngest_gives_way() -> None:
    """When a slot must grow and there is no room, the last that came loses its own, and starts again when it can."""
    driven = Driven(entries=192)
    for number in range(2):
        driven.add(number, [number, *range(20)])
    lost: list[int] = []
    for _ in range(60):
        lost += driven.step().restarts
    assert set(lost) == {1}
    assert (driven.planner.running, driven.planner.waiting) == (1, 1)
    driven.planner.remove(0)
    plan = driven.step()
    assert plan.prefills[0].job == 1
    assert plan.prefills[0].start == 0


def test_a_job_that_cannot_grow_beside_itself_is_first_in_line() -> None:
    """Alone and too large for two slots at once it begins anew in the larger one, before anybody else is admitted."""
    driven = Driven(entries=128)
    driven.add(0, range(20))
    while not (plan := driven.step()).restarts:
        pass
    assert plan.restarts == (0,)
    assert plan.prefills[0].job == 0


def test_a_sequence_that_gave_way_reads_what_it_had_said() -> None:
    """Its text is the prompt and its output: both are computed again, nothing is chosen anew."""
    driven = Driven(entries=192, tokens=90)
    driven.add(0, range(20))
    driven.add(1, range(100, 120))
    while not driven.step().restarts:
        pass
    assert driven.said[1] > 5
    driven.planner.remove(0)
    before = driven.said[1]
    (prefill,) = driven.step().prefills
    assert prefill == Prefill(1, 0, 20 + before, last=True)


def test_a_common_beginning_is_copied_once_it_is_there() -> None:
    """The second job waits for the first one's reading, then reads its own last token only."""
    driven = Driven(tokens=32)
    driven.add(0, range(40))
    driven.add(1, range(40))
    first = driven.step()
    assert [prefill.job for prefill in first.prefills] == [0]
    second = driven.step()
    assert [prefill.job for prefill in second.prefills] == [0]
    third = driven.step()
    assert third.prefills == (Prefill(1, 39, 1, True),)
    (copy,) = [each for each in third.memory if isinstance(each, Copy)]
    assert copy.entries == 39


def test_whoever_waits_for_a_job_that_goes_reads_for_itself() -> None:
    """A beginning that will not come is not waited for."""
    driven = Driven(tokens=32)
    driven.add(0, range(40))
    driven.add(1, range(40))
    driven.step()
    driven.planner.remove(0)
    assert driven.step().prefills == (Prefill(1, 0, 32, False),)


def test_what_has_ended_is_found_again() -> None:
    """A job that begins like one that has ended reads the rest only, in the slot of that one where it fits."""
    driven = Driven(tokens=64)
    driven.add(0, range(40))
    before = driven.step().places[0]
    driven.planner.remove(0)
    driven.add(1, [*range(30), *range(70, 80)])
    plan = driven.step()
    assert plan.prefills == (Prefill(1, 30, 10, True),)
    assert plan.found == 30
    assert plan.places[1] == before
    assert not any(isinstance(each, Copy) for each in plan.memory)


def test_a_text_that_is_scored_is_read_as_a_whole_and_in_small_pieces() -> None:
    """It takes no beginning from what has ended, nor from what runs; others may take theirs from it."""
    driven = Driven(tokens=1024, entries=8192)
    text = range(300)
    driven.add(0, text, most=400)
    driven.step()
    driven.planner.remove(0)
    driven.add(1, text, most=400)
    driven.step()
    driven.planner.add(2, width=1, text=text, most=400, scored=True)
    driven.said[2] = 0
    pieces = [each for _ in range(2) for each in driven.step().prefills]
    assert pieces == [Prefill(2, 0, 256, False), Prefill(2, 256, 44, True)]


def test_a_beginning_in_a_slot_of_another_kind_is_copied() -> None:
    """A search copies what a sequence has read, and the other stays for whoever comes next."""
    driven = Driven(tokens=64)
    driven.add(0, range(40))
    driven.step()
    driven.planner.remove(0)
    for number in (1, 2):
        driven.add(number, [*range(35), number], width=2)
    plan = driven.step()
    assert plan.prefills == (Prefill(1, 35, 1, True), Prefill(2, 35, 1, True))
    assert [each.entries for each in plan.memory if isinstance(each, Copy)] == [35, 35]


def test_what_was_used_least_recently_is_given_up_first() -> None:
    """Slots that hold nothing are taken before those that do."""
    driven = Driven(entries=256, tokens=200, slab=256, smallest=64)
    for number in range(3):
        driven.add(number, [number] * 20)
        driven.step()
    for number in range(3):
        driven.planner.remove(number)
    driven.add(3, [0] * 20)
    assert driven.step().found == 19  # in its slot, which is now the most recently used
    driven.planner.remove(3)
    for number in (4, 5):
        driven.add(number, [number] * 20)
        assert driven.step().found == 0  # the empty one, then that of job 1
    driven.add(6, [2] * 20)
    assert driven.step().found == 19
    driven.add(7, [0] * 20)
    assert driven.step().found == 19


def test_a_search_leaves_its_prompt_behind() -> None:
    """And nothing else: what its beams have written is no text."""
    driven = Driven(tokens=64)
    driven.add(0, range(40), width=2)
    for _ in range(5):
        driven.step()
    driven.planner.remove(0)
    driven.add(1, [*range(40), 7, 7, 7, 7])
    assert driven.step().prefills == (Prefill(1, 40, 4, True),)


def test_a_removed_job_takes_no_part_from_the_next_step_on() -> None:
    """Waiting, reading or decoding, its row and its entries are free at once."""
    driven = Driven(rows=1)
    driven.add(0, [1], most=50)
    driven.add(1, [2], most=50)
    driven.step()
    driven.planner.remove(0)
    plan = driven.step()
    assert plan.decodes == ()
    assert plan.prefills == (Prefill(1, 0, 1, True),)
    driven.planner.remove(1)
    driven.planner.remove(1)  # twice is as good as once
    assert driven.step().empty


def test_what_could_never_run_is_refused() -> None:
    """More rows than a step has, or more entries than there are, would wait for ever."""
    driven = Driven(entries=256, rows=8)
    with pytest.raises(ValueError, match="9 rows"):
        driven.add(0, [1], width=9, most=10)
    with pytest.raises(ValueError, match="257 entries"):
        driven.add(0, [1], most=257)


def test_reading_always_has_room() -> None:
    """Budgets with which decoding could fill the step are refused."""
    with pytest.raises(ValueError, match="no room to read"):
        Budgets(rows=8, tokens=8)
