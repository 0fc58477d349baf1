"""The texts of a generation's sequences, piece by piece as tokens are decided, or whole at the end.

Both ways are the same text by construction: each sequence has one decoder, and, where stop strings are no part of the
output, the engine's own decision of where one ends it.
"""

from collections.abc import Sequence as Seq

from llama_inference.text.decoding import TextDecoder
from llama_inference.text.stops import StopStrings
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Generation, Outcome, Step


class Pieces:
    """All texts of one generation."""

    def __init__(
        self, vocabulary: Vocabulary, generation: Generation, cut: Seq[str] = (), *, after: bool = False
    ) -> None:
        """`cut` are the stop strings that a text ends in front of, or right `after`; they begin in the output."""
        stops = StopStrings(cut, vocabulary, begin_in_prompt=False) if cut else None
        self._texts = [
            _Text(vocabulary, prompt)
            if stops is None
            else _CutText(vocabulary, prompt, stops, kept=cut if after else ())
            for prompt in generation.prompts
            for _ in range(generation.sequences)
        ]

    def push(self, step: Step) -> str:
        """Take new tokens of a sequence; return the text that is now certain, maybe empty."""
        return self._texts[step.index].push(step.token_ids)

    def finish(self) -> list[str]:
        """Return what was held back of each text."""
        return [text.finish() for text in self._texts]

    def whole(self, outcome: Outcome) -> list[str]:
        """Return the texts of a finished generation of which nothing has been taken yet."""
        fronts = [self.push(Step(index, sequence.token_ids)) for index, sequence in enumerate(outcome.sequences)]
        return [front + rest for front, rest in zip(fronts, self.finish(), strict=True)]


class _Text:
    def __init__(self, vocabulary: Vocabulary, prompt: Seq[int]) -> None:
        self._decoder = TextDecoder(vocabulary, prompt)

    def push(self, token_ids: Seq[int]) -> str:
        return self._decoder.push(token_ids)

    def finish(self) -> str:
        return self._decoder.finish()


class _CutText(_Text):
    """A text that ends in front of a stop string, or behind one of `kept`; what may still become one is held back."""

    def __init__(self, vocabulary: Vocabulary, prompt: Seq[int], stops: StopStrings, *, kept: Seq[str]) -> None:
        super().__init__(vocabulary, prompt)
        self._kept = kept
        self._stops = stops
        self._progress = stops.begin(prompt)
        self._held = ""

    def push(self, token_ids: Seq[int]) -> str:
        return "".join([self._push(token) for token in token_ids])

    def _push(self, token: int) -> str:
        if self._progress.taken is not None:
            return ""
        self._held += super().push((token,))
        self._progress = self._stops.take(self._progress, token)
        taken = self._progress.taken
        place = len(self._held) - (self._stops.undecided(self._progress) if taken is None else taken)
        piece, self._held = self._held[:place], self._held[place:]
        if taken is None:
            return piece
        return piece + self._first(self._held, self._kept) if self._kept else piece

    @staticmethod
    def _first(text: str, strings: Seq[str]) -> str:
        """The stop string that was complete first; all of the text where a part of one is not seen."""
        return min((each for each in strings if text.startswith(each)), key=len, default=text)

    def finish(self) -> str:
        return "" if self._progress.taken is not None else self._held + super().finish()
