"""The texts of a generation's sequences, piece by piece as tokens are decided, or whole at the end.

Both ways are the same text by construction: each sequence has an assembler, and in front of it a cutter for stop
strings that are no part of the output.
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq

from llama_inference.stream.stops import StopCutter
from llama_inference.stream.text import TextAssembler
from llama_inference.values import Generation, Outcome, Step


class Pieces:
    """All texts of one generation; `cut` are the stop strings that a text ends in front of."""

    def __init__(self, decode: Callable[[Seq[int]], str], generation: Generation, cut: Seq[str] = ()) -> None:
        self._texts = [
            (TextAssembler(decode, generation.prompts[row // generation.sequences]), StopCutter(cut))
            for row in range(len(generation.prompts) * generation.sequences)
        ]

    def push(self, step: Step) -> str:
        """Take new tokens of a sequence; return the text that is now certain, maybe empty."""
        assembler, cutter = self._texts[step.index]
        return cutter.push(assembler.push(step.token_ids))

    def finish(self) -> list[str]:
        """Return what was held back of each text."""
        return [cutter.push(assembler.finish()) + cutter.finish() for assembler, cutter in self._texts]

    def whole(self, outcome: Outcome) -> list[str]:
        """Return the texts of a finished generation of which nothing has been taken yet."""
        fronts = [self.push(Step(index, sequence.token_ids)) for index, sequence in enumerate(outcome.sequences)]
        return [front + rest for front, rest in zip(fronts, self.finish(), strict=True)]

    def stopped(self, index: int) -> bool:
        """Whether a text was cut off."""
        return self._texts[index][1].stopped
