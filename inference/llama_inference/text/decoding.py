"""Token ids → text, piece by piece. Whole texts are made by the same class, so that both are the same characters.

The rule: text begins at a character's first byte. Bytes that can still become a character are held, three at most;
what cannot become one is U+FFFD at once, one for each part that UTF-8's own rules tell apart (Unicode 16, table 3-7).
Each token is looked at once, so that the cost is that of the output's bytes.
"""

from codecs import utf_8_decode
from collections.abc import Sequence as Seq
from typing import Final

from llama_inference.text.vocabulary import Vocabulary

LONGEST_HELD: Final = 3  # bytes: a character has four at most


class TextDecoder:
    """The text of one output, from the first character that it has a byte of.

    A prompt of token ids may end within a character. That one belongs to the output, which completes or spoils it.
    """

    def __init__(self, vocabulary: Vocabulary, prompt: Seq[int] = ()) -> None:
        """`prompt` holds the ids in front of the output."""
        self._vocabulary = vocabulary
        self._after, self._held = ending(vocabulary, prompt)

    def push(self, token_ids: Seq[int]) -> str:
        """Take new tokens; return the text that is now certain, maybe empty."""
        added: list[bytes] = []
        for token in token_ids:
            if not self._vocabulary.hidden(token):
                added.append(self._vocabulary.adds(token, self._after))
                self._after = token
        text, self._held = whole_characters(self._held + b"".join(added))
        return text

    def finish(self) -> str:
        """Return what was held: a character that never became whole is one U+FFFD."""
        held, self._held = self._held, b""
        return held.decode(errors="replace")


def whole_characters(data: bytes) -> tuple[str, bytes]:
    """Return the text of `data`, and the bytes at its end that can still become a character."""
    text, used = utf_8_decode(data, "replace", False)  # noqa: FBT003 - C takes no names: whether this is the end
    held = data[used:]
    if held[:1] == b"\xed" and held[1:] >= b"\xa0":  # half of a surrogate pair, for which CPython's codec waits
        return text + held.decode(errors="replace"), b""
    return text, held


def ending(vocabulary: Vocabulary, tokens: Seq[int]) -> tuple[int | None, bytes]:
    """Return how a text ends: its last token that is not hidden, and the bytes that can still become a character."""
    after: int | None = None
    tail = b""
    for token in reversed(tokens):
        if vocabulary.hidden(token):
            continue
        after = token if after is None else after
        tail = vocabulary.literal(token) + tail
        if len(tail) >= LONGEST_HELD:
            break
    return after, whole_characters(tail)[1]


def text_of(vocabulary: Vocabulary, prompt: Seq[int], output: Seq[int]) -> str:
    """Return the text of a whole output."""
    decoder = TextDecoder(vocabulary, prompt)
    return decoder.push(output) + decoder.finish()


def front_of(vocabulary: Vocabulary, prompt: Seq[int]) -> str:
    """Return what stands in front of an output's text: the prompt, but for a character that the output completes."""
    return TextDecoder(vocabulary).push(prompt)
