"""What the scheduler asks of the engine in one step, and what comes back. Pure values: no torch, no behaviour.

A *job* is what is scheduled as one: a sequence (width 1) or a beam search (as wide as it has beams). Its keys and
values live in one *slot*, a run of *entries*; one entry holds one token for all layers. Slots of equal width and
capacity stand side by side in a *slab*, so that one call attends for all of them.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from llama_inference.values import Logprob, Sequence


@dataclass(frozen=True, slots=True, order=True)
class SlabShape:
    """The slots of a slab: rows that decode in each, entries in each, and how many there are."""

    width: int
    capacity: int
    slots: int

    @property
    def entries(self) -> int:
        """What the slab costs of the budget."""
        return self.capacity * self.slots


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One slot: the slab's number, and the slot's in the slab."""

    slab: int
    slot: int


@dataclass(frozen=True, slots=True)
class Prefill:
    """Read `tokens` more tokens of a job's text into its slot, after the `start` that are there."""

    job: int
    start: int
    tokens: int
    last: bool  # whether this ends the text, so that the first output token is chosen in this step


@dataclass(frozen=True, slots=True)
class Add:
    """Create a slab under a number that has not been used."""

    slab: int
    shape: SlabShape


@dataclass(frozen=True, slots=True)
class Drop:
    """Give a slab back; none of its slots is in use."""

    slab: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the first `entries` entries of one slot to another; the slots may be of different slabs."""

    source: Place
    target: Place
    entries: int


Memory: TypeAlias = Add | Drop | Copy


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """One step, in the order in which it is carried out.

    Attributes:
        restarts: jobs that lost their slot: their keys and values will be computed again.
        memory: what happens to slabs and slots; one thing may need another before it.
        places: where each job that takes part stands.
        prefills: texts to read.
        decodes: jobs that take one decoding step.
        found: tokens that were to be read, and were there already: copied, or in the slot that was taken.
    """

    restarts: tuple[int, ...] = ()
    memory: tuple[Memory, ...] = ()
    places: dict[int, Place] = field(default_factory=dict[int, Place])
    prefills: tuple[Prefill, ...] = ()
    decodes: tuple[int, ...] = ()
    found: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to compute."""
        return not self.prefills and not self.decodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a step did for one job that chose tokens in it.

    Attributes:
        job: whose report this is.
        tokens: the new tokens; empty for a beam search, whose tokens are not final.
        logprobs: one for each of them, where they are asked for.
        prompt_logprobs: with the first tokens, one for each token of the prompt but its first, where asked for.
        entries: how many entries of its slot are in use.
        done: the finished sequences, best first; None while it goes on.
        error: why it cannot go on; None while it can.
    """

    job: int
    tokens: tuple[int, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    prompt_logprobs: tuple[Logprob, ...] = ()
    entries: int = 0
    done: tuple[Sequence, ...] | None = None
    error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether the job needs no further step."""
        return self.done is not None or self.error is not None
