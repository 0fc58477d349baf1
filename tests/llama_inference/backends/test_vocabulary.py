"""Texts over tokenizers of every family: however prompt and output are split, what the tokenizer itself decodes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_inference.backends.vocabulary import TokenizerVocabulary
from llama_inference.text.decoding import TextDecoder, front_of, text_of
from tests.support.models import SMOLLM2, models_dir

pytestmark = pytest.mark.slow  # tokenizers of real sizes are trained, which takes seconds each

FAMILIES = (
    "byte-level BPE", "metaspace BPE with byte fallback", "metaspace BPE without a space in front",
    "Unigram with byte fallback", "Unigram", "BPE with suffixes", SMOLLM2,
)  # fmt: skip
LETTERS = (
    "azAZäéñßł αωΩ бяё ابي אבת अहीं กาไ 가힣안 あアん 的一好你 ສະບາຍ ⴰⵣ 🦙👩‍👩‍👧🇩🇪 \n\t.,!?'"  # ten scripts and more
)
TEXTS = st.lists(st.text(LETTERS, max_size=8) | st.text(max_size=4), max_size=6).map(" ".join)
EXAMPLES = settings(deadline=None, max_examples=40)


class Watched:
    """A tokenizer of which it is known what it was asked to decode."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.decoded: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def decode(self, token_ids: list[int], **given: Any) -> str:
        """Decode, and note how many."""
        self.decoded.append(len(token_ids))
        return self._tokenizer.decode(token_ids, **given)


class Family:
    """A tokenizer of one family, and its vocabulary as texts are made of it."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.vocabulary = TokenizerVocabulary(tokenizer)
        self.bytes = [
            token for token in range(len(tokenizer)) if len(set(self.vocabulary.literal(token)) - set(range(128))) > 0
        ]

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, with the start token."""
        return self.tokenizer(text)["input_ids"]

    def decoded(self, ids: list[int]) -> str:
        """The tokenizer's own text."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    """Each family in turn, and a real vocabulary."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds, which only slow tests pay

    from tests.support import vocabularies  # noqa: PLC0415

    if request.param == SMOLLM2:
        return Family(AutoTokenizer.from_pretrained(models_dir() / SMOLLM2))
    return Family(vocabularies.FAMILIES[request.param]())


@EXAMPLES
@given(text=TEXTS)
def test_every_split_is_what_the_tokenizer_decodes(family: Family, text: str) -> None:
    """What stands in front and the output are the whole; an output after whole characters is exactly what they add."""
    ids = family.ids(text)
    whole = family.decoded(ids)
    for cut in range(len(ids) + 1):
        front, output = front_of(family.vocabulary, ids[:cut]), text_of(family.vocabulary, ids[:cut], ids[cut:])
        assert front + output == whole
        if "�" not in (before := family.decoded(ids[:cut])):
            assert output == whole[len(before) :]


@EXAMPLES
@given(text=TEXTS, data=st.data())
def test_pieces_joined_are_the_whole(family: Family, text: str, data: st.DataObject) -> None:
    """However the tokens come together, and none holds a part of a character."""
    ids = family.ids(text)
    cut = data.draw(st.integers(0, len(ids)))
    decoder, at, pieces = TextDecoder(family.vocabulary, ids[:cut]), cut, list[str]()
    while at < len(ids):
        size = data.draw(st.integers(1, len(ids) - at))
        pieces.append(decoder.push(ids[at : at + size]))
        at += size
    pieces.append(decoder.finish())
    assert "".join(pieces) == text_of(family.vocabulary, ids[:cut], ids[cut:])
    assert "�" in family.decoded(ids) or not any("�" in piece for piece in pieces)


@EXAMPLES
@given(data=st.data())
def test_broken_bytes_spoil_nothing_but_themselves(family: Family, data: st.DataObject) -> None:
    """Whatever tokens come, as from a model that is forced: the text is that of their bytes, in any split."""
    ids = data.draw(st.lists(st.sampled_from(family.bytes) | st.integers(0, len(family.tokenizer) - 1), max_size=12))
    whole = text_of(family.vocabulary, [], ids)
    for cut in range(len(ids) + 1):
        assert front_of(family.vocabulary, ids[:cut]) + text_of(family.vocabulary, ids[:cut], ids[cut:]) == whole
    if "�" not in family.decoded(ids) or family.tokenizer.backend_tokenizer.decoder.__class__.__name__ == "ByteLevel":
        assert whole == family.decoded(ids)


def test_the_cost_is_that_of_the_output(family: Family) -> None:
    """No token is decoded again for those that follow it: two at most at once, and each kind of token once."""
    watched = Watched(family.tokenizer)
    vocabulary = TokenizerVocabulary(watched)
    ids = [token for token in family.ids("Grüße 你好 🦙 " * 4 + "ສະບາຍດີ") if token] * 20
    decoder = TextDecoder(vocabulary, ids[:7])
    for token in ids[7:]:
        decoder.push([token])
    assert max(watched.decoded, default=0) <= 2
    assert len(watched.decoded) <= 2 * len(ids)
    joining = "suffix" in str(family.tokenizer.backend_tokenizer.decoder.__getstate__())
    assert joining or len(watched.decoded) <= 2 * len(set(ids)) + 2
