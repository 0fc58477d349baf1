"""Slots for keys and values within a budget of entries.

Capacities double from class to class, so that slots of one slab hold texts of similar length and one call attends for
all of them with at most half of it wasted. A slab exists while one of its slots is in use, or nobody needs its place.
Which free slot of a slab is taken may be a matter of what it still holds; whether there is one never is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llama_inference.engine.native.plan import Add, Copy, Drop, Memory, Place, SlabShape

SMALLEST: Final = 256  # entries of the smallest slot
SLAB: Final = 8192  # entries of a slab that holds several slots
NOTHING_KEPT: Final[Mapping[Place, int]] = {}


@dataclass(slots=True)
class _Slab:
    shape: SlabShape
    free: set[int]

    @property
    def empty(self) -> bool:
        return len(self.free) == self.shape.slots


class Slabs:
    """The slots of one engine."""

    def __init__(self, budget: int, *, smallest: int = SMALLEST, slab: int = SLAB) -> None:
        """`budget` is the number of entries for all slabs together; `slab` is lowered to it."""
        self._budget = budget
        self._smallest = smallest
        self._slab = min(slab, budget)
        self._slabs: dict[int, _Slab] = {}
        self._next = 0
        self._log: list[Memory] = []

    @property
    def held(self) -> int:
        """Entries of all slabs that exist; never above the budget."""
        return sum(slab.shape.entries for slab in self._slabs.values())

    @property
    def in_use(self) -> int:
        """Slots in use."""
        return sum(slab.shape.slots - len(slab.free) for slab in self._slabs.values())

    def capacity(self, entries: int) -> int:
        """The capacity of the smallest slot that holds so many entries."""
        capacity = self._smallest
        while capacity < entries:
            capacity *= 2
        return capacity

    def fits(self, entries: int) -> bool:
        """Whether a slot for so many entries could exist if there were no other."""
        return self.capacity(entries) <= self._budget

    def shape(self, place: Place) -> SlabShape:
        """The shape of the slab that holds a slot."""
        return self._slabs[place.slab].shape

    def take(
        self, width: int, entries: int, *, kept: Mapping[Place, int] = NOTHING_KEPT, best: Place | None = None
    ) -> Place | None:
        """Take a slot for a job of that width and so many entries; None when there is no room for it.

        Args: kept are free slots that hold something, with how recently it was used; best is that of them from which
        the job would copy: it is taken itself where it is one that would do.
        """
        capacity = self.capacity(entries)
        alike = [
            number
            for number, slab in self._slabs.items()
            if slab.free and slab.shape.width == width and slab.shape.capacity == capacity
        ]
        # The fullest of the oldest slabs first, and the lowest slot: neighbours attend in one call.
        number = min(alike, key=lambda each: (len(self._slabs[each].free), each), default=None)
        if number is None:
            number = self._add(SlabShape(width, capacity, max(1, self._slab // capacity)))
        if number is None:
            return None
        free = self._slabs[number].free
        if best is not None and best.slab == number:
            slot = best.slot
        else:
            slot = min(free, key=lambda each: (kept.get(Place(number, each), 0), each))
        free.remove(slot)
        return Place(number, slot)

    def give(self, place: Place) -> None:
        """Give a slot back."""
        self._slabs[place.slab].free.add(place.slot)

    def copy(self, source: Place, target: Place, entries: int) -> None:
        """Have the first entries of a slot copied to another."""
        self._log.append(Copy(source, target, entries))

    @property
    def log(self) -> tuple[Memory, ...]:
        """What has happened since `changes` was asked last."""
        return tuple(self._log)

    def changes(self) -> tuple[Memory, ...]:
        """Return and forget what has happened since this was asked last, in order."""
        log, self._log = self._log, []
        return tuple(log)

    def _add(self, shape: SlabShape) -> int | None:
        empties = [number for number, slab in self._slabs.items() if slab.empty]
        spare = self._budget - self.held
        if spare + sum(self._slabs[number].shape.entries for number in empties) < shape.entries:
            if shape.slots == 1:
                return None
            return self._add(SlabShape(shape.width, shape.capacity, max(1, shape.slots // 2)))
        while spare < shape.entries:
            dropped = empties.pop(0)
            spare += self._slabs.pop(dropped).shape.entries
            self._log.append(Drop(dropped))
        number, self._next = self._next, self._next + 1
        self._slabs[number] = _Slab(shape, set(range(shape.slots)))
        self._log.append(Add(number, shape))
        return number
