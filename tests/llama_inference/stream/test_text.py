"""Text out of tokens: whole characters only, and the same bytes whichever way the tokens come."""

import pytest

from llama_inference.backends.mock import MockBackend
from llama_inference.stream.text import REPLACEMENT, TextAssembler, text_of

decode = MockBackend().decode  # one token is one byte
TEXT = "Grüße — 🦙!"


def pieces(output: bytes, prompt: bytes = b"") -> list[str]:
    """What each token gives, and the end last."""
    assembler = TextAssembler(decode, list(prompt))
    return [*(assembler.push([token]) for token in output), assembler.finish()]


def test_no_piece_holds_half_a_character() -> None:
    """A character comes with its last byte."""
    found = pieces(TEXT.encode())
    assert "".join(found) == TEXT
    assert not any(REPLACEMENT in piece for piece in found)
    assert [piece for piece in found if piece] == list(TEXT)


@pytest.mark.parametrize("cut", range(1, 4))
def test_an_incomplete_character_is_shown_at_the_end_only(cut: int) -> None:
    """One U+FFFD for what never became whole, by the last call."""
    *middle, last = pieces("a🦙".encode()[: 1 + cut])
    assert "".join(middle) == "a"
    assert last == REPLACEMENT


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_the_text_is_the_same_however_the_tokens_are_grouped(size: int) -> None:
    """Steps of several tokens, as beams or guesses give them, join to the same text."""
    output = list(TEXT.encode())
    assembler = TextAssembler(decode, [])
    found = "".join(assembler.push(output[at : at + size]) for at in range(0, len(output), size))
    assert found + assembler.finish() == TEXT == text_of(decode, [], output)


def test_invalid_bytes_are_shown_as_the_decoder_shows_them() -> None:
    """A byte that begins no character does not swallow what follows."""
    broken = b"a\xffb\xc3(c"
    assert text_of(decode, [], list(broken)) == broken.decode(errors="replace")
    assert "".join(pieces(broken)) == broken.decode(errors="replace")


def test_a_replacement_character_of_the_models_own_is_kept() -> None:
    """U+FFFD can be written, too."""
    assert "".join(pieces(f"a{REPLACEMENT}b{REPLACEMENT}".encode())) == f"a{REPLACEMENT}b{REPLACEMENT}"


def test_the_prompt_decides_and_does_not_show() -> None:
    """A decoder that drops a leading space drops it at the start of a text, not of an output."""

    def words(ids: object) -> str:
        return "".join(" w" for _ in ids).removeprefix(" ")  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]

    assert text_of(words, [1, 2], [3, 4]) == " w w"
    assert text_of(words, [], [3, 4]) == "w w"


def test_a_prompt_that_begins_within_a_character_changes_nothing() -> None:
    """Only a few of its tokens are looked at, which may cut one."""
    assert "".join(pieces(b"xy", prompt="🦙🦙ab".encode())) == "xy"


def test_a_long_output_is_not_decoded_anew_for_each_token() -> None:
    """The window that is decoded stays short, so that cost does not grow with the output."""
    seen: list[int] = []

    def counting(ids: list[int]) -> str:
        seen.append(len(ids))
        return decode(ids)

    text_of(counting, [1] * 100, list(TEXT.encode() * 50))  # pyright: ignore[reportArgumentType]
    assert max(seen) < 20
