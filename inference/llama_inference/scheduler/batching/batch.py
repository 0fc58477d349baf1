"""The batch: a planner and the executor it plans for, step by step. Owned by one thread."""

from llama_inference.backends.batching import Capacity, Executor, PlannedJob
from llama_inference.engine.native.plan import Report, StepPlan
from llama_inference.scheduler.batching.planner import Budgets, Planner
from llama_inference.scheduler.batching.slabs import SLAB, SMALLEST, Slabs


class Batch:
    """Jobs on their way through an executor."""

    def __init__(self, executor: Executor, capacity: Capacity, *, smallest: int = SMALLEST, slab: int = SLAB) -> None:
        """`smallest` and `slab` are those of `Slabs`, in entries."""
        self._executor = executor
        slabs = Slabs(capacity.entries, smallest=smallest, slab=slab)
        self._planner = Planner(slabs, Budgets(rows=capacity.rows, tokens=capacity.tokens))
        self._next = 0
        self.last_plan = StepPlan()  # what the last step was, for whoever counts

    @property
    def idle(self) -> bool:
        """Whether no job waits or runs."""
        return not self._planner.waiting and not self._planner.running

    @property
    def executor(self) -> Executor:
        """What carries out the steps."""
        return self._executor

    @property
    def running(self) -> int:
        """Jobs that have a slot."""
        return self._planner.running

    def fits(self, job: PlannedJob) -> bool:
        """Whether a job could ever run."""
        return self._planner.fits(job.width, job.most)

    def submit(self, job: PlannedJob) -> int:
        """Let a job wait; return its number.

        Raises:
            ValueError: it does not fit.
            Exception: the executor does not take it, and nothing of it stays.
        """
        number, self._next = self._next, self._next + 1
        self._planner.add(number, width=job.width, text=job.prompt, most=job.most, scored=job.scored)
        try:
            self._executor.open(number, job.spec)
        except BaseException:
            self.cancel(number)  # else it would wait here for ever, with nobody who knows its number
            raise
        return number

    def cancel(self, number: int) -> None:
        """Give a job up; from the next step on it takes no part."""
        self._planner.remove(number)
        self._executor.close(number)

    def step(self) -> list[Report]:
        """Run one step; return what it did. Jobs that ended are forgotten. Raises as `Executor.step` does."""
        plan = self.last_plan = self._planner.plan()
        reports = self._executor.step(plan)
        self._planner.advance(plan, reports)
        for report in reports:
            if report.ended:
                self._executor.close(report.job)
        return reports
