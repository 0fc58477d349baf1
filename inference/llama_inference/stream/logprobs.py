"""Log-probabilities beside the text: each goes with the piece of text that its token begins in.

What a stop string cuts off is told of neither, and a token whose text is held back waits with it.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from llama_inference.text.decoding import TextDecoder
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Logprob


@dataclass(frozen=True, slots=True)
class Placed:
    """A token, the character of its text that it begins at, and how likely it was; None where nothing tells that."""

    start: int
    token: int
    logprob: Logprob | None


class Placer:
    """The log-probabilities of one sequence, in the order of its tokens."""

    def __init__(self, vocabulary: Vocabulary, prompt: Seq[int]) -> None:
        """`vocabulary` and `prompt` are those of the sequence's `TextDecoder`."""
        self._text = TextDecoder(vocabulary, prompt)
        self._length = 0
        self._waiting: list[Placed] = []

    def push(self, logprobs: Seq[Logprob]) -> None:
        """Take those of new tokens."""
        for each in logprobs:
            self._waiting.append(Placed(self._length, each.token, each))
            self._length += len(self._text.push((each.token,)))

    def take(self, characters: int) -> list[Placed]:
        """Return those whose tokens begin before so many characters of the output."""
        taken = [each for each in self._waiting if each.start < characters]
        self._waiting = self._waiting[len(taken) :]
        return taken

    def rest(self, characters: int) -> list[Placed]:
        """Return those that are left of a text of so many, such as an end token's; none where the text was cut off."""
        taken, self._waiting = self._waiting, []
        return taken if self._length <= characters else []


def placed_prompt(vocabulary: Vocabulary, prompt: Seq[int], logprobs: Seq[Logprob]) -> list[Placed]:
    """Return the tokens of a prompt; nothing tells how likely the first is."""
    text = TextDecoder(vocabulary, ())
    length = 0
    found: list[Placed] = []
    for token, logprob in zip(prompt, (None, *logprobs), strict=True):
        found.append(Placed(length, token, logprob))
        length += len(text.push((token,)))
    return found
