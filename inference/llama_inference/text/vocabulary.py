"""What text needs to know of a tokenizer: which bytes each token adds. `backends` has those of real tokenizers."""

from typing import Protocol


class Vocabulary(Protocol):
    """The bytes of tokens. UTF-8 throughout; a token of a byte-level vocabulary may hold a part of a character."""

    def hidden(self, token: int) -> bool:
        """Whether a token is no part of a text: a special one, or one that the tokenizer does not know."""
        ...

    def adds(self, token: int, after: int | None) -> bytes:
        """Return what a token adds to a text; nothing when it is hidden.

        Args:
            token: the new one.
            after: the last one before it that is not hidden; None where a text begins, where a tokenizer of
                SentencePiece's kind shows no space in front of the first word.
        """
        ...

    def literal(self, token: int) -> bytes:
        """Return a token's own text within a text, such as `</s>` of a special one."""
        ...


class Bytes:
    """The vocabulary of the mocks: a token below 256 is that byte, and any other is hidden."""

    def hidden(self, token: int) -> bool:
        """Whether it is no byte."""
        return not 0 <= token < 256

    def adds(self, token: int, after: int | None) -> bytes:
        """The byte itself, wherever it stands."""
        del after
        return self.literal(token)

    def literal(self, token: int) -> bytes:
        """The byte itself."""
        return b"" if self.hidden(token) else bytes((token,))
