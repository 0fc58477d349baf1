"""The bytes of a transformers tokenizer's tokens: of byte-level ones by their table, of others by what it decodes.

A byte-level vocabulary writes each byte as a character of its own, one with byte fallback has tokens such as `<0xE4>`.
All other tokens are text, which the tokenizer itself decodes behind another token, so that whatever its decoder does
(spaces for `▁`, `##` left out) is done as it does it. Each token is decoded once and kept.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from transformers.convert_slow_tokenizer import bytes_to_unicode

from llama_inference.values import Json

BYTES: Final = {character: byte for byte, character in bytes_to_unicode().items()}
FALLBACK: Final = re.compile("<0x([0-9A-Fa-f]{2})>")
# Decoders that look at more than one token: what one adds then depends on the one before it, and cannot be kept.
JOINING: Final = frozenset({"BPEDecoder", "CTC"})


class TokenizerVocabulary:
    """A `text.vocabulary.Vocabulary` over a tokenizer. From any thread."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - transformers' own, of many kinds
        self._tokenizer = tokenizer
        kinds = _decoders(tokenizer)
        self._byte_level = "ByteLevel" in kinds and "ByteFallback" not in kinds
        self._fallback = "ByteFallback" in kinds or not tokenizer.is_fast
        self._joining = bool(kinds & JOINING) or not tokenizer.is_fast
        self._special = _special(tokenizer)
        self._hidden: dict[int, bool] = {}
        self._literal: dict[int, bytes] = {}
        self._first: dict[int, bytes] = {}
        # Any token of plain text, for others to stand behind.
        self._anchor: int = next(reversed(tokenizer.encode("a", add_special_tokens=False)), 0)

    def hidden(self, token: int) -> bool:
        """Whether it is special, or none of the tokenizer's."""
        if token not in self._hidden:
            self._hidden[token] = token in self._special or self._name(token) is None
        return self._hidden[token]

    def adds(self, token: int, after: int | None) -> bytes:
        """What it adds to a text; see `Vocabulary`."""
        if self.hidden(token):
            return b""
        if after is None:
            if token not in self._first:
                self._first[token] = self._at_the_beginning(token)
            return self._first[token]
        return self._behind(after, token) if self._joining and not self._is_byte(token) else self.literal(token)

    def literal(self, token: int) -> bytes:
        """Its own text; see `Vocabulary`."""
        if token not in self._literal:
            self._literal[token] = self._within(token)
        return self._literal[token]

    def _name(self, token: int) -> str | None:
        try:
            name: str | None = self._tokenizer.convert_ids_to_tokens(token)
        except (IndexError, OverflowError):
            return None
        return name

    def _is_byte(self, token: int) -> bool:
        return self._fallback and FALLBACK.fullmatch(self._name(token) or "") is not None

    def _within(self, token: int) -> bytes:
        name = self._name(token)
        if name is None:
            return b""
        if self._byte_level:
            # As the decoder has it: a token with a character that stands for no byte is text as a whole.
            return bytes(map(BYTES.__getitem__, name)) if BYTES.keys() >= set(name) else name.encode()
        if self._is_byte(token):
            return bytes.fromhex(name[3:5])
        return self._behind(self._anchor, token)

    def _at_the_beginning(self, token: int) -> bytes:
        literal = self.literal(token)
        # A part of a character is shown as a part; of whole ones, the decoder says what is shown of them here.
        if self._byte_level or (self._is_byte(token) and not literal.isascii()):
            return literal
        return self._decode([token]).encode()

    def _behind(self, before: int, token: int) -> bytes:
        return self._decode([before, token])[len(self._decode([before])) :].encode()

    def _decode(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _decoders(tokenizer: Any) -> frozenset[str]:  # noqa: ANN401
    """The kinds of decoders in a tokenizer's chain."""
    decoder = tokenizer.backend_tokenizer.decoder if tokenizer.is_fast else None
    return frozenset() if decoder is None else frozenset(_kinds(json.loads(decoder.__getstate__())))


def _kinds(state: Json) -> Iterator[str]:
    yield state["type"]
    for inner in state.get("decoders", ()):
        yield from _kinds(inner)


def _special(tokenizer: Any) -> frozenset[int]:  # noqa: ANN401
    """Which tokens a decoder leaves out."""
    if not tokenizer.is_fast:
        return frozenset(tokenizer.all_special_ids)
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    return frozenset(token for token, content in added.items() if content.special)
