"""A grammar beside transformers' `generate`: scores of what it forbids are -inf, in every row and beam."""

import torch
from llguidance import LLMatcher
from transformers import LogitsProcessor

from llama_inference.engine.native.guides import Guide, Masks


class GuidedScores(LogitsProcessor):
    """Holds the rows of one generation to a grammar."""

    def __init__(
        self,
        grammar: LLMatcher,
        prompt: int,
        ends: tuple[int, ...],
        *,
        eos: int | None = None,
        plain: frozenset[int] = frozenset(),
    ) -> None:
        """`prompt` is the number of tokens in front of the output; the rest is as in `Guide`."""
        self._prompt = prompt
        self._masks = Masks()
        self._root = Guide(grammar, ends, eos=eos, plain=plain)
        self._guides: dict[tuple[int, ...], Guide] = {}  # by output: beams change places between steps

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores float32 [rows, vocabulary] for input_ids int64 [rows, tokens so far]."""
        rows: list[list[int]] = input_ids[:, self._prompt :].tolist()
        guides: dict[tuple[int, ...], Guide] = {}
        for row in rows:
            output = tuple(row)
            if output not in guides:
                guides[output] = self._next(output) if output else self._root
        self._guides = guides
        held = scores.clone()
        bound = [(number, guides[tuple(row)]) for number, row in enumerate(rows)]
        bound = [(number, guide) for number, guide in bound if guide.leads_on]  # the rest has ended, and is padding
        if bound:
            self._masks.hold(held, bound)
        return held

    def over(self, output: tuple[int, ...]) -> bool:
        """Whether an output is complete, and nothing may follow."""
        return bool(output) and self._next(output).over

    def _next(self, output: tuple[int, ...]) -> Guide:
        before = self._guides.get(output[:-1])
        guide = (self._root if before is None else before).fork()
        for token in output if before is None else output[-1:]:
            guide.take(token)
        return guide
