"""A backend with a batch and no model: sequence `i` of a request says 10·i+1, 10·i+2, … at the pace of a gate."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from llama_inference.backends.batching import Capacity, PlannedJob
from llama_inference.engine.native.plan import Report, StepPlan
from llama_inference.errors import InvalidRequestError
from llama_inference.values import FinishReason, Generation, Sequence
from tests.llama_inference.harness import Gate, PacedBackend

ALONE = "guidance_scale"  # a request with this parameter is not covered


@dataclass
class Said:
    """A job: its output so far, and how long it becomes."""

    prompt: int
    index: int
    wanted: int
    tokens: list[int]


class CountingExecutor:
    """Carries out steps by counting."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.jobs: dict[int, Said] = {}
        self.most_at_once = 0
        self.resets = 0
        self.fails_with: BaseException | None = None
        self.refuses: tuple[int, BaseException] | None = None  # the sequence of a request, and why it cannot be opened

    def open(self, number: int, spec: object) -> None:
        """Take a job in, or refuse one once as told."""
        assert isinstance(spec, Said)
        if self.refuses is not None and self.refuses[0] == spec.index:
            (_, error), self.refuses = self.refuses, None
            raise error
        self.jobs[number] = spec

    def close(self, number: int) -> None:
        """Forget a job."""
        self.jobs.pop(number, None)

    def reset(self) -> None:
        """Forget all."""
        self.jobs.clear()
        self.resets += 1

    def step(self, plan: StepPlan) -> list[Report]:
        """Wait for the gate, then let each job say its next number; or fail once as told."""
        self._gate()
        error, self.fails_with = self.fails_with, None
        if error is not None:
            raise error
        chose = [*plan.decodes, *(prefill.job for prefill in plan.prefills if prefill.last)]
        self.most_at_once = max(self.most_at_once, len(chose))
        return [self._say(number) for number in chose]

    def _say(self, number: int) -> Report:
        job = self.jobs[number]
        job.tokens.append(10 * job.index + len(job.tokens) + 1)
        entries = job.prompt + len(job.tokens) - 1
        done = (Sequence(tuple(job.tokens), FinishReason.LENGTH),) if len(job.tokens) == job.wanted else None
        return Report(job=number, tokens=(job.tokens[-1],), entries=entries, done=done)


class CountingBackend(PacedBackend):
    """The mock backend, with a batch of four rows beside its one at a time."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.executor = CountingExecutor(gate)
        self.jobs_fail_with: BaseException | None = None
        self.capacity = Capacity(rows=4, tokens=64, entries=4096)

    def covers(self, generation: Generation) -> str | None:
        """All but one parameter."""
        return f"{ALONE} is not counted" if ALONE in generation.parameters else None

    def jobs(self, generation: Generation) -> Seq[PlannedJob]:
        """One job a sequence; top_k contradicts itself; or fail once as told."""
        error, self.jobs_fail_with = self.jobs_fail_with, None
        if error is not None:
            raise error
        if "top_k" in generation.parameters:
            raise InvalidRequestError("top_k contradicts itself", param="top_k")
        rows = [(prompt, index) for prompt in generation.prompts for index in range(generation.sequences)]
        return [
            PlannedJob(
                spec=Said(len(prompt), number, generation.max_tokens - len(prompt), []),
                index=number,
                width=1,
                prompt=prompt,
                most=generation.max_tokens,
            )
            for number, (prompt, _) in enumerate(rows)
        ]
