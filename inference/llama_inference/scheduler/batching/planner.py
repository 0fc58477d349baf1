"""Who takes part in the next step.

Rules, in this order:
1. Jobs that decode always take part. One whose slot is full moves to a larger one; if there is no room, the youngest
   job that has a slot gives way: its keys and values are computed again later.
2. Waiting jobs are admitted in order of arrival, and none overtakes another, while there are rows and entries.
3. What is left of the step's tokens reads texts, in order of arrival, in pieces.

What has ended stays in its slot until that is taken: a job that begins alike copies the beginning, or takes the slot
over. This decides nothing of the above.

The oldest job never gives way to another and every admitted job ends, so each job becomes the oldest and is served.
"""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from llama_inference.engine.native.plan import Place, Prefill, Report, StepPlan
from llama_inference.scheduler.batching.kept import Kept
from llama_inference.scheduler.batching.prefixes import common_prefix
from llama_inference.scheduler.batching.slabs import Slabs

HEADROOM: Final = 32  # entries for each row that an admitted job gets beyond its text
WORTH_COPYING: Final = 16  # tokens of a common beginning, below which they are computed again
SCORED_AT_ONCE: Final = 256  # tokens of a text that are all scored: each has a row of the whole vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Bounds of a step: rows that decode, and tokens of all kinds, which must be more than the rows."""

    rows: int
    tokens: int

    def __post_init__(self) -> None:
        """Check that reading goes on however many decode.

        Raises:
            ValueError: it could not.
        """
        if not 0 < self.rows < self.tokens:
            raise ValueError(f"a step of {self.tokens} tokens leaves no room to read beside {self.rows} rows")


@dataclass(slots=True)
class _Job:
    number: int
    width: int
    most: int  # entries that it may ever need
    text: list[int]  # what a prefill reads
    scored: bool = False  # whether each token of the text is asked for, so that nothing of it is taken from others
    place: Place | None = None
    filled: int = 0  # tokens of the text whose keys and values are there
    entries: int = 0  # entries in use; 0 while the text is being read
    wanted: int = 0  # entries that it needs at least when it gets a slot
    waits_for: tuple[int, int] | None = field(default=None)  # a job that reads the same beginning, and its tokens

    @property
    def decodes(self) -> bool:
        return self.entries > 0


class Planner:
    """All jobs that wait or run, by number; numbers grow in order of arrival."""

    def __init__(self, slabs: Slabs, budgets: Budgets) -> None:
        self._slabs = slabs
        self._budgets = budgets
        self._jobs: dict[int, _Job] = {}
        self._waiting: list[int] = []  # sorted
        self._running: list[int] = []  # sorted; those with a slot
        self._kept = Kept()
        self._found = 0

    @property
    def waiting(self) -> int:
        """Jobs without a slot."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs with a slot."""
        return len(self._running)

    def fits(self, width: int, most: int) -> bool:
        """Whether a job of that width, needing at most so many entries, could ever run."""
        return width <= self._budgets.rows and self._slabs.fits(most)

    def add(self, number: int, *, width: int, text: Iterable[int], most: int, scored: bool = False) -> None:
        """Let a job wait; `scored` is that of `PlannedJob`.

        Raises:
            ValueError: it could never run.
        """
        if not self.fits(width, most):
            raise ValueError(f"a job of {width} rows and up to {most} entries exceeds the budgets")
        self._jobs[number] = _Job(number, width, most, list(text), scored)
        insort(self._waiting, number)

    def remove(self, number: int) -> None:
        """Forget a job that has ended or is given up; nothing happens when it is not known."""
        job = self._jobs.pop(number, None)
        if job is None:
            return
        if job.place is None:
            self._waiting.remove(number)
        else:
            self._running.remove(number)
            self._slabs.give(job.place)
            self._kept.keep(job.place, job.text[: job.filled])

    def plan(self) -> StepPlan:
        """Choose the next step."""
        restarts: list[int] = []
        for number in tuple(self._running):
            job = self._jobs[number]
            if job.place is not None and job.decodes:
                self._make_room(job, job.place, restarts)
        self._admit()
        running = [self._jobs[number] for number in self._running]
        for job in running:
            self._share(job)
        memory = self._slabs.changes()
        self._kept.dropped(memory)
        found, self._found = self._found, 0
        decodes = tuple(job.number for job in running if job.decodes)
        prefills = tuple(self._prefills(running))
        taking_part = {*decodes, *(prefill.job for prefill in prefills)}
        return StepPlan(
            restarts=tuple(restarts),
            memory=memory,
            places={job.number: job.place for job in running if job.place and job.number in taking_part},
            prefills=prefills,
            decodes=decodes,
            found=found,
        )

    def advance(self, plan: StepPlan, reports: Iterable[Report]) -> None:
        """Take note of a step that was carried out; jobs that ended are forgotten."""
        for prefill in plan.prefills:
            self._jobs[prefill.job].filled += prefill.tokens
        for report in reports:
            job = self._jobs[report.job]
            job.entries = report.entries
            if job.width == 1:  # a search begins anew when it gives way; a sequence goes on with what it has
                job.text += report.tokens
                job.filled = job.entries
            if report.ended:
                self.remove(report.job)

    def _make_room(self, job: _Job, place: Place, restarts: list[int]) -> None:
        needed = min(job.entries + job.width, job.most)
        if needed <= self._slabs.shape(place).capacity:
            return
        while (larger := self._take(job, needed)) is None:
            youngest = self._jobs[self._running[-1]]
            youngest.wanted = max(youngest.wanted, needed if youngest is job else 0)
            self._give_way(youngest, restarts)
            if youngest is job:
                return
        self._slabs.copy(place, larger, job.entries)
        self._slabs.give(place)
        job.place = larger

    def _give_way(self, job: _Job, restarts: list[int]) -> None:
        if job.place is not None:
            self._slabs.give(job.place)
        job.place, job.filled, job.entries, job.waits_for = None, 0, 0, None
        self._running.remove(job.number)
        insort(self._waiting, job.number)
        restarts.append(job.number)
        for other in self._jobs.values():  # nobody waits for what is gone, or two could wait for each other
            if other.waits_for is not None and other.waits_for[0] == job.number:
                other.waits_for = None

    def _admit(self) -> None:
        rows = sum(self._jobs[number].width for number in self._running)
        while self._waiting:
            job = self._jobs[self._waiting[0]]
            if rows + job.width > self._budgets.rows:
                return
            needed = max(job.wanted, len(job.text) + job.width * HEADROOM)
            before = None if job.scored else self._kept.best(job.text, WORTH_COPYING)
            place = self._take(job, min(needed, job.most), before)
            if place is None:
                return
            del self._waiting[0]
            insort(self._running, job.number)
            job.place = place
            job.waits_for = self._same_beginning(job)
            self._recall(job, place, before)
            rows += job.width

    def _take(self, job: _Job, entries: int, before: tuple[Place, int] | None = None) -> Place | None:
        """Take a slot, and forget what it held; `before` is what the job may begin with."""
        best = None if before is None else before[0]
        if best is not None:
            self._kept.use(best)
        place = self._slabs.take(job.width, entries, kept=self._kept.order(), best=best)
        self._kept.dropped(self._slabs.log)
        if place is not None and place != best:
            self._kept.forget(place)
        return place

    def _recall(self, job: _Job, place: Place, before: tuple[Place, int] | None) -> None:
        """Begin with what a free slot holds, unless a running job has more of it, or that slot's slab has gone."""
        if before is None or before[0] not in self._kept or (job.waits_for and job.waits_for[1] > before[1]):
            self._kept.forget(place)
            return
        donor, shared = before
        if donor == place:
            self._kept.forget(place)
        else:
            self._slabs.copy(donor, place, shared)
        job.filled, job.waits_for = shared, None
        self._found += shared

    def _same_beginning(self, job: _Job) -> tuple[int, int] | None:
        """The running job that shares the longest beginning with this one, and how long it is."""
        if job.scored:
            return None
        best, donor = WORTH_COPYING - 1, None
        for number in self._running:
            if number == job.number:
                continue
            # The last token is computed in any case: its logits are wanted.
            shared = common_prefix(self._jobs[number].text, job.text, len(job.text) - 1)
            if shared > best:
                best, donor = shared, number
        return None if donor is None else (donor, best)

    def _share(self, job: _Job) -> None:
        """Copy the beginning that this job waits for, once it is there; give up waiting when it will not be."""
        if job.waits_for is None or job.place is None:
            return
        number, shared = job.waits_for
        donor = self._jobs.get(number)
        if donor is None or donor.place is None:
            job.waits_for = None
        elif donor.filled >= shared:
            self._slabs.copy(donor.place, job.place, shared)
            job.filled, job.waits_for = shared, None
            self._found += shared

    def _prefills(self, running: Iterable[_Job]) -> Iterable[Prefill]:
        left = self._budgets.tokens - sum(job.width for job in running if job.decodes)
        for job in running:
            if job.decodes or job.waits_for is not None or not left:
                continue
            tokens = min(left, len(job.text) - job.filled, SCORED_AT_ONCE if job.scored else left)
            yield Prefill(job.number, job.filled, tokens, last=job.filled + tokens == len(job.text))
            left -= tokens
