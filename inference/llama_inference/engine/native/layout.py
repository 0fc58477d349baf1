"""From a step's plan to the rows that the network computes: numbers only, the same for every rank.

`assembly` turns a layout into tensors on a device. A layout says all that a rank must know: the jobs themselves, and
what is chosen for them, stay with the engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np

from llama_inference.engine.native.beams import Flags
from llama_inference.engine.native.edits import Tokens
from llama_inference.engine.native.jobs import BeamJob, Job, SequenceJob
from llama_inference.engine.native.plan import Memory, Place, StepPlan


@dataclass(frozen=True, slots=True)
class See:
    """Let every row of a slot see its first `entries`, and no others; it uses `used`, and what is after is wiped."""

    place: Place
    entries: int
    used: int


@dataclass(frozen=True, slots=True)
class SeeAlso:
    """Let the rows of each slot see one entry more; slots, entries: int64 [n]."""

    slab: int
    slots: Tokens
    entries: Tokens


@dataclass(frozen=True, slots=True)
class SeeOnly:
    """Set what each row of a slot sees from entry `start` on; visible: bool [width, entries after start]."""

    place: Place
    start: int
    visible: Flags


Sight: TypeAlias = See | SeeAlso | SeeOnly


@dataclass(frozen=True, slots=True)
class RunLayout:
    """Neighbouring slots of a slab, `first` up to `last`, whose rows `begin` to `end` decode together.

    Attributes:
        used: entries of each slot that the rows look at.
    """

    begin: int
    end: int
    first: int
    last: int
    used: int


@dataclass(frozen=True, slots=True)
class GroupLayout:
    """All decoding rows of one slab; slots, entries: int64 [rows], where each row writes."""

    slab: int
    begin: int
    end: int
    slots: Tokens
    entries: Tokens
    runs: tuple[RunLayout, ...]


@dataclass(frozen=True, slots=True)
class SegmentLayout:
    """A piece of one text, the rows `begin` to `end`, written into its slot from entry `start` on."""

    place: Place
    start: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One step.

    Attributes:
        memory: what happens to slabs and slots first.
        sights: what then changes in the masks.
        tokens, positions: int64 [rows]; decoding rows come first, slab by slab, then texts. No rows: nothing more.
        groups, segments: who attends to what.
        wanted: int64 [n], the rows whose logits count; None for all of them.
    """

    memory: tuple[Memory, ...]
    sights: tuple[Sight, ...]
    tokens: Tokens
    positions: Tokens
    groups: tuple[GroupLayout, ...]
    segments: tuple[SegmentLayout, ...]
    wanted: Tokens | None


@dataclass(frozen=True, slots=True)
class Scored:
    """Places of a job's prompt of which the token after each is told: `count` from `first` on."""

    job: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class _Decoding:
    """One job's rows of a decoding step: what they read, where, and where they write."""

    number: int
    width: int
    place: Place
    tokens: Tokens
    position: int
    entries: Tokens
    used: int  # entries of the slot in use, these included


def lay_out(
    plan: StepPlan, jobs: Mapping[int, Job], *, apart: bool = False
) -> tuple[Layout, tuple[tuple[int, int], ...], tuple[Scored, ...]]:
    """Lay out the rows of a step: decoding jobs by their places, then texts; jobs take note of what they write.

    `apart`: every slot is a run of its own.

    Returns: the layout; and the jobs whose next tokens are wanted, each with the number of its logits' rows, in order
    of those rows; and the places of prompts whose rows follow those.
    """
    decoding = [_decoding(number, plan.places[number], jobs[number]) for number in plan.decodes]
    decoding.sort(key=lambda each: each.place)
    groups: list[GroupLayout] = []
    sights: list[Sight] = []
    begin = 0
    for _, neighbours in groupby(decoding, key=lambda each: each.place.slab):
        members = list(neighbours)
        groups.append(_group(members, begin, apart=apart))
        sights += _sights(groups[-1], members, jobs)
        begin = groups[-1].end
    order = [(each.number, len(each.tokens)) for each in decoding]
    tokens = [np.empty(0, np.int64), *(each.tokens for each in decoding)]
    positions = [np.empty(0, np.int64), *(np.full(len(each.tokens), each.position, np.int64) for each in decoding)]
    wanted = list(range(begin))
    segments: list[SegmentLayout] = []
    scored: list[Scored] = []
    read: list[int] = []
    for prefill in plan.prefills:
        after = prefill.start + prefill.tokens
        segments.append(SegmentLayout(plan.places[prefill.job], prefill.start, begin, begin + prefill.tokens))
        tokens.append(jobs[prefill.job].tokens[prefill.start : after])
        positions.append(np.arange(prefill.start, after))
        if (places := _unscored(prefill.job, jobs[prefill.job], prefill.start, after)) is not None:
            scored.append(places)
            read += range(begin + places.first - prefill.start, begin + places.first - prefill.start + places.count)
        begin += prefill.tokens
        if prefill.last:
            order.append((prefill.job, 1))
            wanted.append(begin - 1)
    layout = Layout(
        memory=plan.memory,
        sights=tuple(sights),
        tokens=np.concatenate(tokens),
        positions=np.concatenate(positions),
        groups=tuple(groups),
        segments=tuple(segments),
        wanted=None if len(wanted) == begin and not read else np.array(wanted + read, np.int64),
    )
    return layout, tuple(order), tuple(scored)


def _unscored(number: int, job: Job, start: int, after: int) -> Scored | None:
    """The places from `start` to `after` that are asked for and were not scored before; None for none of them."""
    if job.spec.prompt_logprobs is None:
        return None
    first = max(start, len(job.read))
    count = min(after, len(job.spec.prompt) - 1) - first
    return Scored(number, first, count) if count > 0 else None


def _decoding(number: int, place: Place, job: Job) -> _Decoding:
    if isinstance(job, SequenceJob):
        last = job.length - 1
        return _Decoding(number, 1, place, job.tokens[last:], last, np.array([last]), job.length)
    entries = job.next_entries()
    tokens = job.search.tokens
    position = len(job.spec.prompt) + tokens.shape[1] - 1
    return _Decoding(number, job.spec.width, place, tokens[:, -1], position, entries, job.entries)


def _group(members: list[_Decoding], begin: int, *, apart: bool) -> GroupLayout:
    width = members[0].width
    runs: list[RunLayout] = []
    at = begin
    # What is the same for neighbours; apart, nobody has any.
    shared = [number if apart else each.place.slot - number for number, each in enumerate(members)]
    for _, neighbours in groupby(zip(shared, members, strict=True), key=lambda pair: pair[0]):
        run = [each for _, each in neighbours]
        end = at + len(run) * width
        used = max(each.used for each in run)
        runs.append(RunLayout(at, end, run[0].place.slot, run[-1].place.slot + 1, used))
        at = end
    slots = np.repeat([each.place.slot for each in members], width)
    entries = np.concatenate([each.entries for each in members])
    return GroupLayout(members[0].place.slab, begin, at, slots, entries, tuple(runs))


def _sights(group: GroupLayout, members: list[_Decoding], jobs: Mapping[int, Job]) -> list[Sight]:
    """What the rows of a group see from now on; their jobs take their seats."""
    sights: list[Sight] = []
    for each in members:
        job = jobs[each.number]
        if isinstance(job, BeamJob):
            if job.seat != each.place:
                sights.append(See(each.place, len(job.spec.prompt), each.used))
            sights.append(SeeOnly(each.place, len(job.spec.prompt), job.pasts))
        elif job.seat != each.place:
            sights.append(See(each.place, job.length, each.used))
        job.seat = each.place
    if any(isinstance(jobs[each.number], SequenceJob) for each in members):
        sights.append(SeeAlso(group.slab, group.slots, group.entries))
    return sights
