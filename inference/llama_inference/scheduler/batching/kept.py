"""Texts whose keys and values are still in slots that nobody uses: of jobs that have ended.

A slot that holds one is as free as any other: what is kept never changes who is admitted, or when. It is lost when its
slot is taken for something else, the least recently used first, or when its slab goes.
"""

from collections.abc import Iterable
from collections.abc import Sequence as Seq

from llama_inference.engine.native.plan import Drop, Memory, Place
from llama_inference.scheduler.batching.prefixes import common_prefix


class Kept:
    """What free slots hold: tokens whose keys and values are their first entries."""

    def __init__(self) -> None:
        self._texts: dict[Place, list[int]] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, place: object) -> bool:
        return place in self._texts

    def keep(self, place: Place, text: list[int]) -> None:
        """Take note of what a slot holds that has just become free."""
        self._texts.pop(place, None)
        if text:
            self._texts[place] = text

    def forget(self, place: Place) -> None:
        """A slot is taken for something else; nothing happens when it holds nothing."""
        self._texts.pop(place, None)

    def dropped(self, memory: Iterable[Memory]) -> None:
        """Forget what was in slabs that are gone."""
        gone = {each.slab for each in memory if isinstance(each, Drop)}
        if gone:
            self._texts = {place: text for place, text in self._texts.items() if place.slab not in gone}

    def best(self, text: Seq[int], least: int) -> tuple[Place, int] | None:
        """Return the slot that begins with most of a text, and how many tokens, at least `least`, if there is one.

        The last token of the text does not count: it is computed in any case, since its logits are wanted.
        """
        found: tuple[Place, int] | None = None
        for place, other in self._texts.items():
            shared = common_prefix(other, text, len(text) - 1)
            if shared >= least and (found is None or shared > found[1]):
                found = place, shared
        return found

    def use(self, place: Place) -> None:
        """Make a slot the most recently used."""
        self._texts[place] = self._texts.pop(place)

    def order(self) -> dict[Place, int]:
        """How recently the slots that hold something were used: larger is more recent; from 1 on."""
        return {place: number for number, place in enumerate(self._texts, 1)}
