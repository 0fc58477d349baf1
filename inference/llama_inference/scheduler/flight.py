"""One request in the batch: its jobs' reports put together into its steps and its result. Engine-thread side."""

from collections.abc import Iterable

from llama_inference.engine.native.plan import Report
from llama_inference.scheduler.ticket import Ticket
from llama_inference.values import Sequence, Step


class Flight:
    """A ticket and the numbers of its jobs that still run."""

    def __init__(self, ticket: Ticket, jobs: dict[int, int]) -> None:
        """`jobs` maps each job's number to the index of its first sequence."""
        self.ticket = ticket
        self._jobs = jobs
        self._results: dict[int, Sequence] = {}

    @property
    def jobs(self) -> tuple[int, ...]:
        """The jobs that still run."""
        return tuple(self._jobs)

    def take(self, reports: Iterable[Report]) -> tuple[Sequence, ...] | None:
        """Take one step's reports of this request's jobs; return the result once it is complete.

        Raises:
            AbandonedError: nobody waits any more.
            Exception: as one of the reports says.
        """
        steps: list[Step] = []
        for report in reports:
            if report.error is not None:
                raise report.error
            index = self._jobs[report.job]
            if report.tokens and self.ticket.generation.streamed:
                steps.append(Step(index, report.tokens, report.logprobs, report.prompt_logprobs))
            if report.done is not None:
                del self._jobs[report.job]
                self._results.update(enumerate(report.done, index))
        self.ticket.step(steps)
        if self._jobs:
            return None
        return tuple(self._results[index] for index in sorted(self._results))
