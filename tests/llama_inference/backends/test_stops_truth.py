"""A stop string ends an output where transformers' `generate` ends it: by its own criteria, token for token."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_inference.backends.vocabulary import TokenizerVocabulary
from llama_inference.text.decoding import text_of
from llama_inference.text.stops import StopScan, StopStrings

pytestmark = pytest.mark.slow  # torch, and tokenizers that are trained

SMALL = 2000
STOPS: tuple[tuple[str, ...], ...] = (("ab", "好", " the"), ("\n\n", "a b", "</s>"), ("你好", ".", "ccc"))
FAMILIES = ("byte-level BPE", "metaspace BPE with byte fallback", "Unigram with byte fallback")


class Truth:
    """A vocabulary, transformers' criteria for each set of stop strings, and tokens that have to do with them."""

    def __init__(self, tokenizer: Any) -> None:
        from transformers.generation.stopping_criteria import StopStringCriteria  # noqa: PLC0415

        self.vocabulary = TokenizerVocabulary(tokenizer)
        self.criteria = {stops: StopStringCriteria(tokenizer, list(stops)) for stops in STOPS}
        letters = {byte for stops in STOPS for stop in stops for byte in stop.encode()}
        every = range(len(tokenizer))
        self.tokens = [token for token in every if set(self.vocabulary.literal(token)) <= letters]
        self.special = [token for token in every if self.vocabulary.hidden(token)]

    def ends(self, stops: tuple[str, ...], tokens: list[int]) -> bool:
        """Whether transformers ends an output with the last of these tokens."""
        import torch  # noqa: PLC0415

        criteria: Any = self.criteria[stops]
        return bool(criteria(torch.tensor([tokens]), None)[0])


@pytest.fixture(scope="module", params=FAMILIES)
def truth(request: pytest.FixtureRequest) -> Truth:
    """Each family in turn."""
    from tests.support import vocabularies  # noqa: PLC0415 - transformers takes seconds, which only slow tests pay

    make: Any = {
        "byte-level BPE": vocabularies.byte_level,
        "metaspace BPE with byte fallback": vocabularies.llama_2,
        "Unigram with byte fallback": vocabularies.unigram,
    }[request.param]
    return Truth(make(SMALL))


@settings(deadline=None, max_examples=80)
@given(data=st.data(), stops=st.sampled_from(STOPS))
def test_what_ends_transformers_ends_an_output_here(truth: Truth, data: st.DataObject, stops: tuple[str, ...]) -> None:
    """Always; and nothing else does, but for what only the text shows: across a special token, or U+FFFD."""
    some = st.sampled_from(truth.tokens) | st.sampled_from(truth.special)
    prompt, output = data.draw(st.lists(some, min_size=1, max_size=5)), data.draw(st.lists(some, max_size=10))
    for begin_in_prompt in (True, False):
        scan = StopScan(StopStrings(stops, truth.vocabulary, begin_in_prompt=begin_in_prompt), prompt)
        seen = prompt if begin_in_prompt else []
        for number, token in enumerate(output, 1):
            tokens = [*seen, *output[:number]]
            ours, theirs = scan.finds(token), truth.ends(stops, tokens)
            plain = not any(map(truth.vocabulary.hidden, tokens))
            if plain and "�" not in text_of(truth.vocabulary, [], [*prompt, *output]):
                assert ours == theirs
            assert ours or not theirs
