"""Slots: within the budget, side by side, and given back."""

import random

from llama_inference.engine.native.plan import Add, Copy, Drop, Place, SlabShape
from llama_inference.scheduler.batching.slabs import Slabs


def some_slabs(budget: int = 1024) -> Slabs:
    """Slabs of 256 entries whose smallest slot has 64."""
    return Slabs(budget, smallest=64, slab=256)


def test_a_slot_holds_what_is_asked_for_and_less_than_twice_that() -> None:
    """Capacities double from the smallest on."""
    slabs = some_slabs()
    assert [slabs.capacity(entries) for entries in (1, 64, 65, 200, 256, 257)] == [64, 64, 128, 256, 256, 512]


def test_jobs_of_one_kind_stand_side_by_side() -> None:
    """Equal width and capacity share a slab, lowest slot first; another width gets a slab of its own."""
    slabs = some_slabs()
    assert [slabs.take(1, 50) for _ in range(3)] == [Place(0, 0), Place(0, 1), Place(0, 2)]
    assert slabs.take(4, 50) == Place(1, 0)
    assert slabs.take(1, 100) == Place(2, 0)
    assert slabs.shape(Place(2, 0)) == SlabShape(1, 128, 2)


def test_a_slot_given_back_is_taken_again_before_a_slab_is_made() -> None:
    """The hole is filled, so that neighbours stay together."""
    slabs = some_slabs()
    places = [slabs.take(1, 10) for _ in range(4)]
    assert places[1] is not None
    slabs.give(places[1])
    assert slabs.take(1, 10) == places[1]
    assert slabs.take(1, 10) == Place(1, 0)


def test_the_budget_is_never_exceeded() -> None:
    """When no slab fits any more there is no slot, however often one asks."""
    slabs = some_slabs(budget=512)
    taken = [slabs.take(1, 200) for _ in range(5)]
    assert [place is not None for place in taken] == [True, True, False, False, False]
    assert slabs.held == 512


def test_an_empty_slab_makes_room_for_another_kind() -> None:
    """It is dropped only then; the log has both in order."""
    slabs = some_slabs(budget=256)
    place = slabs.take(1, 50)
    assert place is not None
    assert slabs.take(4, 50) is None
    slabs.give(place)
    assert slabs.held == 256
    assert slabs.take(4, 50) == Place(1, 0)
    assert slabs.changes() == (Add(0, SlabShape(1, 64, 4)), Drop(0), Add(1, SlabShape(4, 64, 4)))
    assert slabs.changes() == ()


def test_a_slab_is_made_smaller_where_the_budget_is_nearly_used_up() -> None:
    """Room for one slot is used even if a whole slab does not fit."""
    slabs = Slabs(320, smallest=64, slab=256)
    assert slabs.take(1, 60) == Place(0, 0)
    assert slabs.take(2, 60) == Place(1, 0)
    assert slabs.shape(Place(1, 0)).slots == 1


def test_a_copy_stands_between_the_slabs_it_needs() -> None:
    """A job that moves is copied after its new slab is made and before its old one may go."""
    slabs = some_slabs(budget=512)
    small = slabs.take(1, 64)
    large = slabs.take(1, 256)
    assert small is not None
    assert large is not None
    slabs.copy(small, large, 64)
    slabs.give(small)
    assert slabs.take(2, 256) == Place(2, 0)
    kinds = [type(each) for each in slabs.changes()]
    assert kinds == [Add, Add, Copy, Drop, Add]


def test_what_could_never_fit_is_told() -> None:
    """A slot larger than the whole budget does not fit; one as large does."""
    slabs = some_slabs(budget=512)
    assert slabs.fits(512)
    assert not slabs.fits(513)


def test_what_slots_hold_decides_only_which_of_a_slab_is_taken() -> None:
    """Over random histories there is a slot when there would be one otherwise, and in the same slab."""
    for seed in range(20):
        chance = random.Random(seed)  # noqa: S311 - repeats
        plain, keeping = some_slabs(budget=1024), some_slabs(budget=1024)
        taken: list[tuple[Place, Place]] = []
        kept: dict[Place, int] = {}
        for step in range(200):
            if taken and chance.random() < 0.5:
                one, other = taken.pop(chance.randrange(len(taken)))
                plain.give(one)
                keeping.give(other)
                kept[other] = step
                continue
            width, entries = chance.choice((1, 2)), chance.choice((20, 70, 200))
            best = chance.choice([None, *kept])
            one, other = plain.take(width, entries), keeping.take(width, entries, kept=kept, best=best)
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert one.slab == other.slab
                taken.append((one, other))
                kept.pop(other, None)
            gone = {each.slab for each in keeping.changes() if isinstance(each, Drop)}
            kept = {place: used for place, used in kept.items() if place.slab not in gone}
