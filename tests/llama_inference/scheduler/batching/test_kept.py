"""What free slots hold: the longest beginning is found, and what goes with its slab is forgotten."""

from llama_inference.engine.native.plan import Drop, Place
from llama_inference.scheduler.batching.kept import Kept

HERE, THERE = Place(0, 1), Place(2, 0)


def some() -> Kept:
    """Two slots with one beginning."""
    kept = Kept()
    kept.keep(HERE, [1, 2, 3, 4])
    kept.keep(THERE, [1, 2, 3, 4, 5, 6])
    return kept


def test_the_slot_with_most_of_a_text_is_found() -> None:
    """The text's last token is computed in any case."""
    assert some().best([1, 2, 3, 4, 5, 9], least=1) == (THERE, 5)
    assert some().best([1, 2, 3, 4, 5], least=1) == (HERE, 4)
    assert some().best([1, 2, 9], least=3) is None
    assert some().best([], least=1) is None


def test_the_order_is_that_of_use() -> None:
    """Larger is more recent, and what is kept anew is the most recent of all."""
    kept = some()
    assert kept.order() == {HERE: 1, THERE: 2}
    kept.use(HERE)
    assert kept.order() == {THERE: 1, HERE: 2}
    kept.keep(THERE, [7])
    assert kept.order() == {HERE: 1, THERE: 2}


def test_what_is_gone_is_forgotten() -> None:
    """With its slot, with its slab, or since there is nothing in it."""
    kept = some()
    kept.dropped([Drop(2)])
    assert THERE not in kept
    kept.forget(HERE)
    kept.forget(HERE)
    assert len(kept) == 0
    kept.keep(HERE, [])
    assert HERE not in kept
