"""What a backend offers that computes many requests at once: jobs to plan for, and an engine that carries out steps.

`scheduler.turns` finds out by `isinstance` whether a backend is of this kind.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from llama_inference.backends.base import Backend
from llama_inference.engine.native.plan import Report, StepPlan
from llama_inference.values import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """One job of a request.

    Attributes:
        spec: how it is described to the executor, which alone reads it.
        index: the first sequence of the request that it makes.
        width: rows that decode at the same time.
        prompt: the text to read.
        most: entries of keys and values that it may ever need.
        scored: whether each token of the prompt is asked for, so that it is read as a whole, in small pieces.
    """

    spec: object
    index: int
    width: int
    prompt: tuple[int, ...]
    most: int
    scored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much is computed at once: rows and tokens of a step, and entries of keys and values in all."""

    rows: int
    tokens: int
    entries: int


class Executor(Protocol):
    """What carries out steps."""

    def open(self, number: int, spec: object) -> None:
        """Take a job in under a number that is not in use."""
        ...

    def close(self, number: int) -> None:
        """Forget a job; nothing happens when it is not known."""
        ...

    def step(self, plan: StepPlan) -> list[Report]:
        """Carry out one step; return a report for each job that chose tokens or failed.

        Raises:
            EngineLostError: the device is gone; nothing will work again in this process.
            InternalError: this step could not be computed; after `reset` others may be.
        """
        ...

    def reset(self) -> None:
        """Forget all jobs and give back all slabs."""
        ...


@runtime_checkable
class BatchingBackend(Backend, Protocol):
    """A backend with a batch; its `generate` is for what `covers` refuses."""

    @property
    def executor(self) -> Executor:
        """What carries out steps."""
        ...

    @property
    def capacity(self) -> Capacity:
        """How much is computed at once."""
        ...

    def covers(self, generation: Generation) -> str | None:
        """Return why a request must run alone, by `generate`; None when its jobs may join the batch."""
        ...

    def jobs(self, generation: Generation) -> Seq[PlannedJob]:
        """Return the jobs of a request that `covers`.

        Raises:
            InvalidRequestError: the parameters contradict each other.
        """
        ...
