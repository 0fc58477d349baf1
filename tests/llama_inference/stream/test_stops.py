"""Stop strings that are no part of the output: cut off wherever the pieces of text begin and end."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_inference.stream.stops import StopCutter


def cut(pieces: list[str], *stops: str) -> tuple[list[str], bool]:
    """What is handed on for each piece and at the end, and whether a stop string was met."""
    cutter = StopCutter(stops)
    return [*(cutter.push(piece) for piece in pieces), cutter.finish()], cutter.stopped


@pytest.mark.parametrize(
    ("pieces", "stops", "handed"),
    [
        (["one END two"], ["END"], ["one ", ""]),
        (["one E", "N", "D two", "three"], ["END"], ["one ", "", "", "", ""]),
        (["one EN", "T two"], ["END"], ["one ", "ENT two", ""]),
        (["one EN"], ["END"], ["one ", "EN"]),
        (["aab"], ["ab", "aa"], ["", ""]),
        (["xa", "ab"], ["aab"], ["x", "", ""]),
        (["aa", "ab"], ["aab"], ["", "a", ""]),
        (["one"], [], ["one", ""]),
    ],
)
def test_a_text_ends_in_front_of_a_stop_string(pieces: list[str], stops: list[str], handed: list[str]) -> None:
    """What might begin one waits, and is handed on when nothing comes of it."""
    assert cut(pieces, *stops)[0] == handed


@settings(deadline=None)
@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3), st.data())
def test_pieces_are_cut_as_the_whole_is(text: str, stops: list[str], data: st.DataObject) -> None:
    """Where a single stop string ends it, however the text is divided; and nothing of a stop string is handed on."""
    borders = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
    pieces = [text[start:end] for start, end in pairwise(borders)]
    handed, stopped = cut(pieces, *stops)
    assert stopped == any(stop in text for stop in stops)
    assert text.startswith("".join(handed))
    assert not any(stop in "".join(handed) for stop in stops)
    if not stopped:
        assert "".join(handed) == text
    elif len(set(stops)) == 1:
        assert "".join(handed) == text.partition(stops[0])[0]
