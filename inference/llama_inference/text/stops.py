"""Stop strings: whether a token completes one, how much of the text it takes, and what may still become one.

This alone decides a stop, for the engines that end the work and for the text that ends in front of it. A token ends
the output when a stop string ends within it, in either of two readings: the text as callers see it, or the tokens'
own texts one after the other, special tokens as they are written. The latter is what transformers'
`StopStringCriteria` compares, so that whatever ends its `generate` ends an output here.
"""

from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import Final

from llama_inference.text.decoding import ending, whole_characters
from llama_inference.text.vocabulary import Vocabulary
from llama_inference.values import Generation

SEEN: Final = "1"
UNSEEN: Final = "0"


@dataclass(frozen=True, slots=True)
class Reading:
    """The end of a text, as long as a stop string that is not complete yet.

    Attributes:
        text: its last characters.
        seen: for each of them, whether callers see it: `SEEN` or `UNSEEN`.
        held: bytes after them that can still become a character.
    """

    text: str = ""
    seen: str = ""
    held: bytes = b""


@dataclass(frozen=True, slots=True)
class Progress:
    """All that decides what the next token does.

    Attributes:
        after: the last token that is not hidden, None where the text begins.
        shown: the text as callers see it.
        literal: the tokens' own texts.
        taken: characters at the end of the seen text that belong to a stop string or follow it within its last token;
            None while there is none.
    """

    after: int | None
    shown: Reading
    literal: Reading
    taken: int | None = None


class StopStrings:
    """The stop strings of one request. Any number of outputs, each with a `Progress` of its own."""

    def __init__(self, strings: Iterable[str], vocabulary: Vocabulary, *, begin_in_prompt: bool = True) -> None:
        """`strings` are not empty; `begin_in_prompt`: whether one may begin there, as transformers has it."""
        self._strings = tuple(strings)
        self._vocabulary = vocabulary
        self._begin_in_prompt = begin_in_prompt
        self._kept = max(map(len, self._strings)) - 1
        # A U+FFFD has three bytes, and stands for no more.
        self._bytes = max(len(each.encode()) for each in self._strings)

    def begin(self, prompt: Seq[int], output: Seq[int] = ()) -> Progress:
        """Return the progress after a prompt, and after what there is of an output, whatever was complete in them."""
        tokens = (*prompt, *output)
        start = self._start(tokens, 0 if self._begin_in_prompt else len(prompt))
        after, held = ending(self._vocabulary, tokens[:start])
        reading = Reading(held=held)
        progress = Progress(after, reading, reading)
        for token in tokens[start:]:
            progress = self.take(progress, token)
        return replace(progress, taken=None)

    def _start(self, tokens: Seq[int], earliest: int) -> int:
        """Where to begin to read, so that neither reading lacks a character that could begin a stop string."""
        start, missing = len(tokens), self._bytes
        while start > earliest and missing > 0:
            start -= 1
            if not self._vocabulary.hidden(tokens[start]):
                missing -= len(self._vocabulary.literal(tokens[start]))
        return start

    def take(self, progress: Progress, token: int) -> Progress:
        """Return the progress after one more token; `taken` says whether it completes a stop string."""
        hidden = self._vocabulary.hidden(token)
        added = b"" if hidden else self._vocabulary.adds(token, progress.after)
        own = self._vocabulary.literal(token)
        seen, shown, taken = self._read(progress.shown, added, None)
        literal = shown
        if hidden or own != added or progress.literal != progress.shown:
            _, literal, also = self._read(progress.literal, own, 0 if hidden else seen)
            taken = max((each for each in (taken, also) if each is not None), default=None)
        return Progress(progress.after if hidden else token, shown, literal, taken)

    def _read(self, reading: Reading, added: bytes, seen: int | None) -> tuple[int, Reading, int | None]:
        """Read on: how many characters are new, how the text ends now, and what a stop string takes of it.

        Args: seen is how many of the new characters callers see, the last ones; None is all of them.
        """
        if not added:
            return 0, reading, None
        fresh, held = whole_characters(reading.held + added)
        shown = len(fresh) if seen is None else min(seen, len(fresh))
        text = reading.text + fresh
        marks = reading.seen + UNSEEN * (len(fresh) - shown) + SEEN * shown
        place = self._found(text, len(reading.text))
        cut = len(text) - min(len(text), self._kept)
        return len(fresh), Reading(text[cut:], marks[cut:], held), None if place is None else marks[place:].count(SEEN)

    def _found(self, text: str, old: int) -> int | None:
        """Where the first stop string begins that ends after the `old` characters."""
        places = [text.find(stop, max(0, old + 1 - len(stop))) for stop in self._strings]
        return min((place for place in places if place >= 0), default=None)

    def undecided(self, progress: Progress) -> int:
        """Return how many characters at the end of the seen text may belong to a stop string."""
        readings = {progress.shown, progress.literal}
        return max(reading.seen[len(reading.text) - self._begun(reading.text) :].count(SEEN) for reading in readings)

    def _begun(self, text: str) -> int:
        """How many characters at the end begin a stop string; the most of them, if several do."""
        ends = (count for count in range(len(text), 0, -1) if self._begins(text[-count:]))
        return next(ends, 0)

    def _begins(self, end: str) -> bool:
        return any(stop.startswith(end) for stop in self._strings)


class StopScan:
    """One output on the watch for stop strings, token by token; for an engine that ends its work with one."""

    def __init__(self, stops: StopStrings | None, prompt: Seq[int]) -> None:
        """Without stop strings nothing is found."""
        self._stops = stops
        self._progress = None if stops is None else stops.begin(prompt)

    def finds(self, token: int) -> bool:
        """Take the next token; return whether it completes a stop string."""
        if self._stops is None or self._progress is None:
            return False
        self._progress = self._stops.take(self._progress, token)
        return self._progress.taken is not None

    def place(self, tokens: Seq[int]) -> int | None:
        """Take tokens up to the one that completes a stop string; return how many those are, None where none does."""
        return next((place for place, token in enumerate(tokens, 1) if self.finds(token)), None)


def stops_of(generation: Generation, vocabulary: Vocabulary) -> StopStrings | None:
    """Return the stop strings of a request; None when it has none."""
    if not generation.stop_strings:
        return None
    return StopStrings(generation.stop_strings, vocabulary, begin_in_prompt=generation.stops_begin_in_prompt)
