"""Stop strings: what ends an output, found at the first token that completes one, and what of the text it takes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_inference.stream.pieces import Pieces
from llama_inference.text.stops import StopScan, StopStrings, stops_of
from llama_inference.text.vocabulary import Bytes
from llama_inference.values import Generation, Step

START, BLANK = 256, 257


class Written(Bytes):
    """Bytes, a special token that is written `<s>`, and a token that shows no space at the beginning of a text."""

    def hidden(self, token: int) -> bool:
        """Only the special one."""
        return token == START

    def adds(self, token: int, after: int | None) -> bytes:
        """A space in front of the first word is not shown."""
        return b"" if token == START or (token == BLANK and after is None) else self.literal(token)

    def literal(self, token: int) -> bytes:
        """As it is written."""
        return {START: b"<s>", BLANK: b" "}.get(token) or bytes((token,))


VOCABULARY = Written()


def ids(text: str) -> list[int]:
    """The tokens of a text, in which `<s>` and `_` stand for those that are no bytes."""
    front, *more = text.split("<s>")
    tokens = [BLANK if byte == ord("_") else byte for byte in front.encode()]
    return tokens if not more else [*tokens, START, *ids("<s>".join(more))]


def place(output: str | bytes, *stops: str, prompt: str = "", begin_in_prompt: bool = True) -> int | None:
    """After how many tokens of an output its work ends; None when it does not."""
    tokens = ids(output) if isinstance(output, str) else list(output)
    return StopScan(StopStrings(stops, VOCABULARY, begin_in_prompt=begin_in_prompt), ids(prompt)).place(tokens)


def cut(output: str, *stops: str, prompt: str = "") -> tuple[list[str], str]:
    """What is handed on for each token and at the end, in front of a stop string."""
    pieces = Pieces(VOCABULARY, Generation(prompts=(tuple(ids(prompt)),), max_tokens=99), cut=stops)
    return [pieces.push(Step(0, (token,))) for token in ids(output)], pieces.finish()[0]


@pytest.mark.parametrize(
    ("output", "stops", "tokens"),
    [
        ("one END two", ["END"], 7),
        ("one ENT two", ["END"], None),
        ("aab", ["ab", "aa"], 2),
        ("aaab", ["aab"], 4),
        ("a好b", ["好"], 4),
        ("ab<s>c", ["<s>"], 3),
        ("ab<s>c", ["b<s>"], 3),
        ("_ab", [" a"], 2),
    ],
)
def test_the_work_ends_with_the_token_that_completes_one(output: str, stops: list[str], tokens: int | None) -> None:
    """No sooner, no later; special tokens as they are written, and spaces that a beginning does not show, count too."""
    assert place(output, *stops) == tokens


def test_a_stop_string_that_only_the_text_shows_ends_the_work() -> None:
    """The report: with a special token in between only the text was cut, and all tokens were computed and counted."""
    assert place("a<s>bxyz", "ab") == 3
    assert "".join(cut("xa<s>bxyz", "ab")[0]) == "x"


@pytest.mark.parametrize(("output", "tokens"), [(b"ab\x80c", 3), (b"ab\xe4c", 4), ("ab�c".encode(), 5)])
def test_a_replacement_character_can_be_a_stop_string(output: bytes, tokens: int) -> None:
    """Whether the model wrote it, or bytes that become no character, as soon as that is certain."""
    assert place(output, "�") == tokens


def test_one_may_begin_in_the_prompt_where_transformers_has_it_so() -> None:
    """OpenAI's may not: it is a part of the output that ends it."""
    assert place("cd", "abc", prompt="xxab") == 1
    assert place("cd", "abc", prompt="xxab", begin_in_prompt=False) is None
    assert place("abcd", "abc", prompt="xxab", begin_in_prompt=False) == 3
    assert place("bab", "ab", prompt="ab") == 3, "one that stands in the prompt is over"


def test_a_character_that_the_output_completes_is_the_outputs() -> None:
    """Also where stop strings begin in the output: the text has it there."""
    scan = StopScan(StopStrings(["好"], VOCABULARY, begin_in_prompt=False), list("好".encode()[:2]))
    assert scan.finds("好".encode()[2])


@pytest.mark.parametrize(
    ("output", "stops", "handed", "rest"),
    [
        ("one END two", ["END"], "one ", ""),
        ("one ENT two", ["END"], "one ENT two", ""),
        ("one EN", ["END"], "one ", "EN"),
        ("aab", ["ab", "aa"], "", ""),
        ("xaab", ["aab"], "x", ""),
        ("x\ny<s>z", ["y<s>"], "x\n", ""),
        ("x<s>y", ["<s>"], "x", ""),
        ("ab<s>c", ["<s>d"], "abc", ""),
        ("_ab", [" a"], "", ""),
        ("ab", [], "ab", ""),
    ],
)
def test_a_text_ends_in_front_of_a_stop_string(output: str, stops: list[str], handed: str, rest: str) -> None:
    """What might begin one waits, and is handed on when nothing comes of it."""
    pieces, last = cut(output, *stops)
    assert ("".join(pieces), last) == (handed, rest)


def test_nothing_waits_that_can_begin_no_stop_string() -> None:
    """A stream is as fast as its tokens until a stop string may begin."""
    assert cut("xENyENDz", "END")[0] == ["x", "", "", "ENy", "", "", "", ""]


WORDS = st.text("ab<s>好", max_size=12)
STOPS = st.lists(st.text("ab<s>好", min_size=1, max_size=3), min_size=1, max_size=3)


def test_a_stop_string_that_is_left_in_is_the_end_of_the_text() -> None:
    """What its last token holds behind it is no output, and one that began in the prompt ends nothing."""
    tokens = (b"xE", b"N", b"Dtail", b"more")

    class Words(Bytes):
        def literal(self, token: int) -> bytes:
            return tokens[token]

    generation = Generation(prompts=((0, 1),), max_tokens=99, stop_strings=("END",), stops_begin_in_prompt=False)
    pieces = Pieces(Words(), generation, cut=["END"], after=True)
    assert [pieces.push(Step(0, (token,))) for token in (2, 0, 1, 2, 3)] == ["Dtail", "x", "", "END", ""]
    assert pieces.finish() == [""]


@given(WORDS, STOPS, st.data())
def test_pieces_are_cut_where_the_work_ends(text: str, stops: list[str], data: st.DataObject) -> None:
    """However the tokens are grouped: nothing of a stop string is handed on, and nothing in front of it is lost."""
    tokens = list(text.encode())
    borders = sorted(data.draw(st.sets(st.integers(0, len(tokens)), max_size=4)) | {0, len(tokens)})
    pieces = Pieces(Bytes(), Generation(prompts=((),), max_tokens=99), cut=stops)
    handed = "".join(pieces.push(Step(0, tuple(tokens[start:end]))) for start, end in pairwise(borders))
    handed += pieces.finish()[0]
    ended = StopScan(StopStrings(stops, Bytes(), begin_in_prompt=False), ()).place(tokens)
    assert (ended is not None) == any(stop in text for stop in stops)
    assert text.startswith(handed)
    assert not any(stop in handed for stop in stops)
    if ended is None:
        assert handed == text
    else:
        needed = bytes(tokens[:ended]).decode()
        assert any(needed.endswith(stop) for stop in stops)
        assert handed == needed[: min(needed.find(stop) for stop in stops if stop in needed)]


@given(st.binary(max_size=12), st.binary(max_size=12), STOPS)
def test_progress_is_found_again_from_any_place(prompt: bytes, output: bytes, stops: list[str]) -> None:
    """Beams change places: what is read anew from a window before the token decides as what was read on."""
    strings = StopStrings(stops, Bytes())
    progress = strings.begin(prompt)
    for number, token in enumerate(output):
        anew = strings.take(strings.begin(prompt, output[:number]), token)
        progress = strings.take(progress, token)
        assert anew.taken == progress.taken
        assert strings.undecided(anew) == strings.undecided(progress)


def test_a_request_without_stop_strings_has_none() -> None:
    """Nothing is looked for, and nothing found."""
    assert stops_of(Generation(prompts=((1,),), max_tokens=9), VOCABULARY) is None
    assert StopScan(None, [1]).place([1, 2, 3]) is None
