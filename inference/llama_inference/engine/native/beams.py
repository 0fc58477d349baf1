"""One beam search: transformers' `_beam_search`, for one prompt, on few numbers.

The device finds the best continuations of all beams; what follows from them is decided here, in float32 as there.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from llama_inference.engine.native.edits import Tokens
from llama_inference.engine.native.parameters import Beams
from llama_inference.text.stops import Progress, StopStrings
from llama_inference.values import FinishReason, Logprob, Sequence

NEVER: Final = np.float32(-1.0e9)  # the score of what is not to be chosen
Flags: TypeAlias = NDArray[np.bool_]
Scores: TypeAlias = NDArray[np.float32]
Trail: TypeAlias = "tuple[Trail, Logprob] | None"  # a beam's log-probabilities, last first: beams share their pasts


@dataclass(frozen=True, slots=True)
class Continuations:
    """Candidates of one step, best first (or in the order drawn).

    Attributes:
        scores: float32 [k], accumulated log-probabilities.
        parents: int64 [k], the beam that each continues.
        tokens: int64 [k], what each appends.
        logprobs: one for each of those, where they are asked for.
    """

    scores: Scores
    parents: Tokens
    tokens: Tokens
    logprobs: tuple[Logprob, ...] = ()


class BeamSearch:
    """The state of one search.

    Attributes:
        tokens: int64 [width, output so far] of the running beams.
        scores: float32 [width] of the running beams.
        parents: int64 [width], which beam of the step before each running beam continues.
    """

    def __init__(
        self, how: Beams, *, prompt: Tokens, max_length: int, ends: tuple[int, ...], stops: StopStrings | None
    ) -> None:
        """`stops` are the stop strings, None when there are none."""
        self._how = how
        self._prompt = prompt
        self._room = max_length - len(prompt)
        self._ends = np.array(ends, np.int64)
        self._stops = stops
        self._progress = [] if stops is None else [stops.begin(prompt.tolist())] * how.width  # of the running beams
        self.tokens = np.empty((how.width, 0), np.int64)
        self.scores = np.full(how.width, NEVER)
        self.scores[0] = 0  # all beams are equal at first: only one of them may be continued
        self.parents = np.zeros(how.width, np.int64)
        self._trails: list[Trail] = [None] * how.width
        self._finished: list[tuple[Tokens, FinishReason, Trail]] = [
            (self.tokens[0], FinishReason.LENGTH, None)
        ] * how.width
        self._finished_scores = np.full(how.width, NEVER)
        self._is_finished = np.zeros(how.width, np.bool_)
        self._may_improve = True

    @property
    def candidates(self) -> int:
        """How many continuations a step needs: enough to go on when the best ones end."""
        return max(2, 1 + len(self._ends)) * self._how.width

    def texts(self) -> Tokens:
        """Prompt and output of the running beams, int64 [width, length]."""
        prompt = np.broadcast_to(self._prompt, (len(self.tokens), len(self._prompt)))
        return np.concatenate((prompt, self.tokens), axis=1)

    def advance(self, found: Continuations, *, expired: bool) -> bool:
        """Take one step; return whether the search goes on. `expired` ends every continuation here.

        Raises:
            OverflowError: the length penalty is too large for this length.
        """
        tokens = np.concatenate((self.tokens[found.parents], found.tokens[:, None]), axis=1)
        length = tokens.shape[1]
        read = self._read(found)
        stops = np.isin(found.tokens, self._ends)
        if read:
            stops |= np.array([progress.taken is not None for progress in read])
        hits = stops | (length >= self._room) | expired
        trails = self._continued(found)
        self._finish(found, tokens, trails, stops, hits, expired=expired)
        running: Scores = found.scores + hits.astype(np.float32) * NEVER
        best = _top(running, self._how.width)
        self.tokens, self.scores, self.parents = tokens[best], running[best], found.parents[best]
        self._progress = [read[i] for i in best.tolist()] if read else []
        self._trails = [trails[i] for i in best.tolist()]
        return self._goes_on(length, hits)

    def _read(self, found: Continuations) -> list[Progress]:
        """How far each candidate is into a stop string; nothing when there are none."""
        if self._stops is None:
            return []
        pairs = zip(found.parents.tolist(), found.tokens.tolist(), strict=True)
        return [self._stops.take(self._progress[parent], token) for parent, token in pairs]

    def _continued(self, found: Continuations) -> list[Trail]:
        """The trail of each continuation."""
        if not found.logprobs:
            return [None] * len(found.tokens)
        pairs = zip(found.parents.tolist(), found.logprobs, strict=True)
        return [(self._trails[parent], logprob) for parent, logprob in pairs]

    def _finish(
        self, found: Continuations, tokens: Tokens, trails: list[Trail], stops: Flags, hits: Flags, *, expired: bool
    ) -> None:
        """Rank what has just ended with what had ended before."""
        width, early = self._how.width, self._how.early_stopping is True
        ended = hits & (np.arange(len(hits)) < width)  # the others are there to go on with, not to be returned
        scores = (found.scores / self._penalty(tokens.shape[1])).astype(np.float32)
        scores = scores + np.float32(bool(self._is_finished.all()) and early) * NEVER
        scores = scores + np.float32(not self._may_improve) * NEVER
        scores = scores + (~ended).astype(np.float32) * NEVER
        merged = np.concatenate((self._finished_scores, scores)).astype(np.float32)
        is_finished = np.concatenate((self._is_finished, ended))
        late = FinishReason.TIME if expired else FinishReason.LENGTH
        best = _top(merged, width)
        self._finished = [
            self._finished[i]
            if i < width
            else (tokens[i - width], FinishReason.STOP if stops[i - width] else late, trails[i - width])
            for i in best.tolist()
        ]
        self._finished_scores, self._is_finished = merged[best], is_finished[best]

    def _goes_on(self, length: int, hits: Flags) -> bool:
        how = self._how
        hopeful = self._room if how.early_stopping == "never" and how.length_penalty > 0 else length
        best_possible = self.scores[0] / self._penalty(hopeful)
        worst = np.where(self._is_finished, self._finished_scores.min(), NEVER)
        self._may_improve = self._may_improve and bool((best_possible > worst).any())
        is_open = not (bool(self._is_finished.all()) and how.early_stopping is True)
        return self._may_improve and is_open and not bool(hits.all())

    def _penalty(self, length: int) -> Scores:
        """What scores are divided by, float32 []; beyond float32 it is infinite, as it is for transformers."""
        with np.errstate(over="ignore"):
            return np.array(length**self._how.length_penalty).astype(np.float32)

    def results(self) -> tuple[Sequence, ...]:
        """The best finished sequences, as many as are to be returned."""
        best = self._finished[: self._how.returned]
        return tuple(Sequence(tuple(tokens.tolist()), reason, _unwound(trail)) for tokens, reason, trail in best)


def _unwound(trail: Trail) -> tuple[Logprob, ...]:
    found: list[Logprob] = []
    while trail is not None:
        trail, logprob = trail
        found.append(logprob)
    return tuple(reversed(found))


def _top(scores: Scores, count: int) -> Tokens:
    """Indices of the largest, best first.

    Equals stand as `torch.topk` has them on a CPU for as many scores, which is no order that could be told otherwise:
    transformers asks it here, with the same shape, and with several forced end tokens beams end in equals.
    """
    return torch.from_numpy(scores)[None].topk(count).indices[0].numpy()
