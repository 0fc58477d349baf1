"""Outputs that are held to a grammar: which tokens may come next, row by row, and one mask for all rows of a step.

The grammars themselves are llguidance's, compiled in `backends.grammars`.
"""

from collections.abc import Sequence as Seq
from typing import Final

import numpy as np
import torch
from llguidance import LLExecutor, LLMatcher
from numpy.typing import NDArray
from torch import Tensor

BITS: Final = 32  # tokens in a word of a mask
SHIFTS: Final = torch.arange(8, dtype=torch.uint8)


class Guide:
    """Where one output stands in its grammar."""

    def __init__(
        self, matcher: LLMatcher, ends: tuple[int, ...], *, eos: int | None = None, plain: frozenset[int] = frozenset()
    ) -> None:
        """`matcher` stands at the beginning, and stays there: it is copied.

        Args:
            matcher: the grammar.
            ends: the end tokens of the request.
            eos: the end token that llguidance knows of, and allows wherever the grammar may end.
            plain: those of `ends` that are text as any other, which the grammar itself forbids or allows.
        """
        self._matcher = matcher.deep_copy()
        self._ends = ends
        self._eos = eos
        self._plain = plain
        self._lost = False

    def fork(self) -> "Guide":
        """Return a guide that stands at the same place."""
        other = Guide(self._matcher, self._ends, eos=self._eos, plain=self._plain)
        other._lost = self._lost
        return other

    def take(self, token: int) -> None:
        """Go on by one token. One that the grammar forbids, as a beam without hope may take, leads nowhere."""
        if not self._lost and token not in self._ends:
            self._lost = not self._matcher.consume_token(token)

    @property
    def over(self) -> bool:
        """Whether the output is complete, and nothing may follow."""
        return not self._lost and self._matcher.is_stopped() and self._matcher.is_accepting()

    @property
    def failure(self) -> str | None:
        """Why the grammar cannot be followed any further; None while it can."""
        return None if self._lost or not self._matcher.is_error() else self._matcher.get_error()

    @property
    def matcher(self) -> LLMatcher | None:
        """What computes the mask; None where nothing but an end may follow."""
        return None if self._lost or self._matcher.is_stopped() else self._matcher

    @property
    def leads_on(self) -> bool:
        """Whether any token may follow: not without an end token where nothing but one could."""
        return self.matcher is not None or bool(self.ends)

    @property
    def ends(self) -> tuple[int, ...]:
        """The end tokens, where they may follow now."""
        return self._ends if self._lost or self._matcher.is_accepting() else ()

    @property
    def not_yet(self) -> tuple[int, ...]:
        """The end tokens where they may not follow yet, and one that ends nothing because the request ignores it."""
        ignored = () if self._eos is None or self._eos in self._ends else (self._eos,)
        if self._lost or self._matcher.is_accepting():
            return ignored
        return (*(token for token in self._ends if token not in self._plain), *ignored)


class Masks:
    """The masks of a step, computed side by side on threads of llguidance's own, without the interpreter's lock."""

    def __init__(self) -> None:
        self._executor = LLExecutor()

    def hold(self, scores: Tensor, rows: Seq[tuple[int, Guide]]) -> None:
        """Set scores [n, vocabulary] to -inf in place where a row's grammar forbids a token."""
        words = -(-scores.shape[1] // BITS)
        distinct = {id(guide): guide for _, guide in rows}  # beams share one after their prompt
        places = {key: place for place, key in enumerate(distinct)}
        masks = self._masks(list(distinct.values()), words)
        bits = torch.from_numpy(masks.view(np.uint8)[[places[id(guide)] for _, guide in rows]]).to(scores.device)
        allowed = (bits[:, :, None] >> SHIFTS.to(scores.device)) & 1
        forbidden = allowed.flatten(1)[:, : scores.shape[1]] == 0
        numbers = [row for row, _ in rows]
        if numbers == list(range(scores.shape[0])):
            scores.masked_fill_(forbidden, -torch.inf)
        else:
            scores[numbers] = scores[numbers].masked_fill(forbidden, -torch.inf)

    def _masks(self, guides: list[Guide], words: int) -> NDArray[np.int32]:
        """One bit a token: int32 [guides, words]."""
        masks = np.zeros((len(guides), words), np.int32)
        asked = [(guide.matcher, place) for place, guide in enumerate(guides) if guide.matcher is not None]
        if asked:
            self._executor.unsafe_compute_mask_ptr(asked, masks.ctypes.data, words * 4, len(guides))
        flat = masks.view(np.uint8)
        for place, guide in enumerate(guides):
            for token in guide.not_yet:
                flat[place, token // 8] &= 255 ^ (1 << token % 8)
            for token in guide.ends:
                flat[place, token // 8] |= 1 << token % 8
        return masks
