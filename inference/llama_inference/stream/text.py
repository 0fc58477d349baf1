"""Token ids → pieces of text that end on whole characters; joined they are the text of the whole.

The unstreamed answer is built by the same class, so both are the same bytes by construction.
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq

REPLACEMENT = "�"
CONTEXT = 8  # tokens before the output that decide, for instance, whether a leading space is shown


class TextAssembler:
    """Text of one sequence, token by token.

    A piece is the difference between two decodings of a short window, so its cost does not grow with the output. What
    could still change with the next token (a character whose bytes are not complete) is held back.
    """

    def __init__(self, decode: Callable[[Seq[int]], str], prompt: Seq[int]) -> None:
        """`decode` turns ids into text without special tokens; `prompt` holds the ids in front of the output."""
        self._decode = decode
        self._ids = list(prompt[-CONTEXT:])
        self._settled = 0  # the window starts here
        self._read = len(self._ids)  # ids before this have been handed out as text

    def push(self, token_ids: Seq[int]) -> str:
        """Take new tokens; return the text that is now certain, maybe empty."""
        pieces: list[str] = []
        for token_id in token_ids:
            self._ids.append(token_id)
            piece = self._piece()
            if piece and not piece.endswith(REPLACEMENT):
                self._settled, self._read = self._read, len(self._ids)
                pieces.append(piece)
        return "".join(pieces)

    def finish(self) -> str:
        """Return what was held back: an incomplete character is shown as U+FFFD."""
        piece = self._piece()
        self._read = len(self._ids)
        return piece

    def _piece(self) -> str:
        before = self._decode(self._ids[self._settled : self._read])
        return self._decode(self._ids[self._settled :])[len(before) :]


def text_of(decode: Callable[[Seq[int]], str], prompt: Seq[int], output: Seq[int]) -> str:
    """Return the text of a whole output."""
    assembler = TextAssembler(decode, prompt)
    return assembler.push(output) + assembler.finish()
