"""Text out of tokens: whole characters only, and the same characters whichever way the tokens come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_inference.text.decoding import LONGEST_HELD, TextDecoder, front_of, text_of
from llama_inference.text.vocabulary import Bytes

REPLACEMENT = "�"
BYTES = Bytes()  # one token is one byte
SPECIAL = 256
TEXT = "Grüße — 🦙!"


def pieces(output: bytes, prompt: bytes = b"") -> list[str]:
    """What each token gives, and the end last."""
    decoder = TextDecoder(BYTES, list(prompt))
    return [*(decoder.push([token]) for token in output), decoder.finish()]


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


@given(st.binary(max_size=40), st.data())
def test_the_text_is_the_same_however_the_tokens_are_grouped(output: bytes, data: st.DataObject) -> None:
    """Steps of several tokens, as guesses give them, join to the text of the whole, valid UTF-8 or not."""
    decoder, at, found = TextDecoder(BYTES), 0, ""
    while at < len(output):
        size = data.draw(st.integers(1, len(output) - at))
        found += decoder.push(output[at : at + size])
        at += size
    assert found + decoder.finish() == text_of(BYTES, [], output) == output.decode(errors="replace")


@given(st.binary(max_size=40))
def test_no_more_than_three_bytes_wait(output: bytes) -> None:
    """Whatever comes; and what waits can still become a character."""
    decoder, shown = TextDecoder(BYTES), ""
    for number, token in enumerate(output, 1):
        shown += decoder.push([token])
        assert any(
            shown == output[: number - held].decode(errors="replace")
            and (held == 0 or any(_is_character(output[number - held : number], more) for more in range(1, 4)))
            for held in range(min(LONGEST_HELD, number) + 1)
        )


def _is_character(held: bytes, more: int) -> bool:
    """Whether so many bytes can complete a character; lead bytes differ in what may follow them."""
    ends = [bytes([second]) + b"\x80" * (more - 1) for second in (0x80, 0x90, 0xA0)]
    return any(len((held + end).decode(errors="ignore")) == 1 for end in ends)


def test_bytes_that_become_no_character_are_shown_as_they_come() -> None:
    """The report: a model that writes continuation bytes for ever was silent, at a cost that grew with each."""
    assert pieces(b"\x80" * 5) == [REPLACEMENT] * 5 + [""]
    assert pieces(b"\xe4\xe4\xe4") == ["", REPLACEMENT, REPLACEMENT, REPLACEMENT]
    assert pieces(b"\xed\xa0") == ["", REPLACEMENT * 2, ""], "half of a surrogate pair is no beginning of a character"


def test_invalid_bytes_do_not_swallow_what_follows() -> None:
    """They are shown as UTF-8's own rules tell them apart."""
    broken = b"a\xffb\xc3(c\xed\xa0\x80\xf0\x9fx"
    assert text_of(BYTES, [], broken) == "".join(pieces(broken)) == broken.decode(errors="replace")


def test_a_replacement_character_of_the_models_own_is_kept() -> None:
    """U+FFFD can be written, too, and is no sign of anything missing."""
    found = pieces(f"a{REPLACEMENT}b{REPLACEMENT}".encode())
    assert "".join(found) == f"a{REPLACEMENT}b{REPLACEMENT}"
    assert found[-1] == ""


@pytest.mark.parametrize("cut", range(len("x🦙".encode()) + 1))
def test_a_prompt_that_ends_within_a_character_leaves_it_to_the_output(cut: int) -> None:
    """Front and output together are the text of both, and the output begins at the character's first byte."""
    ids = "x🦙好!".encode()
    front, output = front_of(BYTES, ids[:cut]), text_of(BYTES, ids[:cut], ids[cut:])
    assert front + output == "x🦙好!"
    assert front == "x🦙"[: len(front)]


def test_special_tokens_within_a_character_do_not_spoil_it() -> None:
    """They are no part of the text, in the prompt as in the output."""
    first, second, third = "好".encode()
    assert text_of(BYTES, [SPECIAL, first, SPECIAL], [second, SPECIAL, third, SPECIAL]) == "好"


def test_a_prompt_that_begins_within_a_character_changes_nothing() -> None:
    """Its broken beginning is the prompt's own."""
    assert "".join(pieces(b"xy", prompt="🦙🦙ab".encode()[1:])) == "xy"


def test_each_token_is_looked_up_once() -> None:
    """So that the cost is that of the output, whether its bytes are characters or not."""
    looked_up: list[int] = []

    class Counting(Bytes):
        def adds(self, token: int, after: int | None) -> bytes:
            looked_up.append(token)
            return super().adds(token, after)

    output = TEXT.encode() * 50 + b"\x80" * 1000
    decoder = TextDecoder(Counting(), [1] * 100)
    for token in output:
        decoder.push([token])
    assert looked_up == list(output)
