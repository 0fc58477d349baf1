"""What looks at a running `generate` at each step: hang-ups, deadlines, stop strings, streamed tokens, bad scores."""

import time

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.stopping_criteria import StopStringCriteria

from llama_inference.backends.base import Control
from llama_inference.values import Step


class Watch(StoppingCriteria):
    """A stopping criterion that reports each step, and stops for `stop_strings` and `seconds`.

    It takes the place of transformers' own criteria for both, so that it knows afterwards why a row ended.
    """

    def __init__(
        self,
        control: Control,
        *,
        prompt: tuple[int, ...],
        first_index: int,
        rows: int,
        streamed: bool,
        ends: frozenset[int],
        stop_strings: StopStringCriteria | None,
        stops_begin_in_prompt: bool = True,
        seconds: float | None,
    ) -> None:
        """`rows` is 0 for a beam search, whose rows are not final until the end."""
        self._control = control
        self._prompt = prompt
        self._seen = len(prompt)
        self._first_index = first_index
        self._rows = rows
        self._streamed = streamed
        self._ends = ends
        self._stop_strings = stop_strings
        self._stops_after = 0 if stops_begin_in_prompt else len(prompt)
        self._until = None if seconds is None else time.monotonic() + seconds
        self.timed_out = False
        self.lengths: dict[int, int] = {}  # row → output tokens, for rows that have ended

    def __call__(self, input_ids: torch.LongTensor, scores: object, **kwargs: object) -> torch.BoolTensor:
        """Report the step; return which rows are to end. input_ids: int64 [rows, tokens so far]."""
        del kwargs
        del scores
        done = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        if self._stop_strings is not None:
            done |= self._stop_strings(input_ids[:, self._stops_after :], None)  # pyright: ignore[reportArgumentType] - never read
        self._control.step(self._new_steps(input_ids, done))
        if self._until is not None and time.monotonic() > self._until:
            self.timed_out = True
            done |= True
        return done  # pyright: ignore[reportReturnType] - a bool tensor, which torch's stubs do not tell

    def _new_steps(self, input_ids: torch.Tensor, stopped: torch.Tensor) -> list[Step]:
        if not self._rows:
            return []
        fresh: list[list[int]] = input_ids[:, self._seen :].tolist()
        hits: list[bool] = stopped.tolist()
        self._seen = input_ids.shape[1]
        steps: list[Step] = []
        for row, tokens in enumerate(fresh):
            if row in self.lengths:
                continue  # what transformers appends to an ended row is padding
            steps.append(Step(self._first_index + row, tuple(tokens)))
            if hits[row] or not self._ends.isdisjoint(tokens):
                self.lengths[row] = self._seen - len(self._prompt)
        return steps if self._streamed else []

    def ended(self, tokens: tuple[int, ...]) -> bool:
        """Whether an output ends with an end token or a stop string."""
        if not tokens:
            return False
        if tokens[-1] in self._ends:
            return True
        if self._stop_strings is None:
            return False
        text = (self._prompt + tokens)[self._stops_after :]  # as when it was stopped
        return bool(self._stop_strings(torch.tensor([text]), None)[0])  # pyright: ignore[reportArgumentType]


class FiniteScores(LogitsProcessor):
    """Refuses scores that leave no token to choose, which would end a CUDA context instead of a request."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Pass scores float32 [rows, vocabulary] through.

        Raises:
            ValueError: a row has no finite score, or one that is nan or infinitely large.
        """
        del input_ids
        best = scores.max(dim=-1).values  # nan if any is nan
        if not bool(torch.isfinite(best).all()):
            raise ValueError("they leave no token to choose (all scores are -inf, or some are nan or inf)")
        return scores
