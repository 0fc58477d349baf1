"""What looks at a running `generate` at each step: hang-ups, deadlines, stop strings, streamed tokens, bad scores."""

import time
from collections.abc import Sequence as Seq

import torch
from transformers import LogitsProcessor, StoppingCriteria

from llama_inference.backends.base import Control
from llama_inference.backends.guiding import GuidedScores
from llama_inference.text.stops import StopScan, StopStrings
from llama_inference.values import Step


class Watch(StoppingCriteria):
    """A stopping criterion that reports each step, and stops for `stops` and `seconds`.

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
        stops: StopStrings | None,
        seconds: float | None,
        guided: GuidedScores | None = None,
    ) -> None:
        """`rows` is 0 for a beam search, whose rows are not final until the end."""
        self._control = control
        self._prompt = prompt
        self._seen = len(prompt)
        self._first_index = first_index
        self._rows = rows
        self._streamed = streamed
        self._ends = ends
        self._stops = stops
        self._guided = guided
        self._outputs: list[tuple[int, ...]] = [()] * rows
        self._scans = [StopScan(stops, prompt) for _ in range(rows)]
        self._until = None if seconds is None else time.monotonic() + seconds
        self.timed_out = False
        self.lengths: dict[int, int] = {}  # row → output tokens, for rows that have ended

    def __call__(self, input_ids: torch.LongTensor, scores: object, **kwargs: object) -> torch.BoolTensor:
        """Report the step; return which rows are to end. input_ids: int64 [rows, tokens so far]."""
        del kwargs
        del scores
        if self._rows:
            done, steps = self._read(input_ids[:, self._seen :].tolist())
        else:
            done, steps = self._searched(input_ids), []
        self._seen = input_ids.shape[1]
        self._control.step(steps if self._streamed else [])
        if self._until is not None and time.monotonic() > self._until:
            self.timed_out = True
            done = [True] * len(done)
        return torch.tensor(done, device=input_ids.device)  # pyright: ignore[reportReturnType] - a bool tensor, which torch's stubs do not tell

    def _read(self, fresh: list[list[int]]) -> tuple[list[bool], list[Step]]:
        """Take the new tokens of each row, several where they were guessed; return which rows a stop string ends."""
        done = [False] * len(fresh)
        steps: list[Step] = []
        for row, tokens in enumerate(fresh):
            if row in self.lengths:
                continue  # what transformers appends to an ended row is padding
            place = self._scans[row].place(tokens)
            steps.append(Step(self._first_index + row, tuple(tokens[:place])))
            self._outputs[row] += steps[-1].token_ids
            whole = self._guided is not None and self._guided.over(self._outputs[row])
            if whole or place is not None or not self._ends.isdisjoint(tokens):
                self.lengths[row] = self._seen - len(self._prompt) + len(steps[-1].token_ids)
                done[row] = whole or place is not None
        return done, steps

    def _searched(self, input_ids: torch.Tensor) -> list[bool]:
        """Which beams a stop string ends; they change places, so that each is read anew."""
        if self._stops is None:
            return [False] * input_ids.shape[0]
        return [self._completes(row) for row in input_ids[:, len(self._prompt) :].tolist()]

    def _completes(self, output: Seq[int]) -> bool:
        """Whether a stop string ends within the last token."""
        if self._stops is None:
            return False
        return self._stops.take(self._stops.begin(self._prompt, output[:-1]), output[-1]).taken is not None

    def ended(self, tokens: tuple[int, ...]) -> bool:
        """Whether an output ends with an end token or a stop string, or as its grammar does."""
        whole = self._guided is not None and self._guided.over(tokens)
        return bool(tokens) and (whole or tokens[-1] in self._ends or self._completes(tokens))


class CountedPenalties(LogitsProcessor):
    """OpenAI's two penalties, which transformers does not have: for each time that a token of the output has come.

    The native engine has the same (`engine.native.edits`).
    """

    def __init__(self, prompt: int, *, frequency: float, presence: float) -> None:
        """`prompt` is how many tokens are in front of the output; those cost nothing."""
        self._prompt = prompt
        self._frequency = frequency
        self._presence = presence

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores float32 [rows, vocabulary] for the tokens after input_ids int64 [rows, length]."""
        output = input_ids[:, self._prompt :]
        counts = torch.zeros_like(scores).scatter_add_(1, output, torch.ones_like(output, dtype=scores.dtype))
        return scores - self._frequency * counts - self._presence * (counts > 0)


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
