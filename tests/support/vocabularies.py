"""Tokenizers of every family that is served, at sizes as real ones have, over words that nobody wrote.

Importing it takes a second (transformers): tests take it from a fixture. `FAMILIES` names the families.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Final

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SIZE: Final = 32_000
START, END, UNKNOWN = "<s>", "</s>", "<unk>"
SPECIAL: Final = [UNKNOWN, START, END]
BYTES: Final = [f"<0x{byte:02X}>" for byte in range(256)]
SCRIPTS: Final = {
    "latin": "abcdefghijklmnopqrstuvwxyzäéñøßčł", "greek": "αβγδεζηθικλμνξοπρστυφχψωάέ",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюя", "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת", "devanagari": "अआइईउकखगघचजटडणतदनपबमयरलवशसहािीुे्",
    "thai": "กขคงจชดตทนบปพมยรลวสหอะาิีเแ่้", "hangul": "가나다라마바사아자차카타파하안녕세계",
    "kana": "あいうえおかきくけこさしすせそたちつてとアイウカキ", "han": "的一是不了人我在有他这为之大来以个中上们",
}  # fmt: skip
"""Letters of ten scripts, of which words are made; those that a script has beside them are left to bytes."""


def words(count: int, seed: int = 1) -> Iterator[str]:
    """Yield sentences of ten scripts, the same each time; few words are frequent, as in any language."""
    chance = random.Random(seed)  # noqa: S311 - no secrets
    lexicon = [
        ["".join(chance.choices(letters, k=chance.randint(1, 7))) for _ in range(3000)] for letters in SCRIPTS.values()
    ]
    for _ in range(count):
        language = chance.choice(lexicon)
        yield " ".join(language[int(len(language) * chance.random() ** 3)] for _ in range(12)) + chance.choice(".,!?")


def _corpus(size: int) -> Iterator[str]:
    """As much as a vocabulary of that size is learnt from."""
    return words(min(20_000, 2 * size))


@cache
def _merged(size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of metaspace BPE and its merges, the special tokens and the bytes first."""
    bpe = Tokenizer(models.BPE(unk_token=UNKNOWN))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*SPECIAL, *BYTES], show_progress=False, limit_alphabet=600
    )
    bpe.train_from_iterator(_corpus(size), trainer)
    return bpe.get_vocab(), [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens(SPECIAL)
    start = tokenizer.token_to_id(START)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=[(START, start)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END, unk_token=UNKNOWN)


def byte_level(size: int = SIZE) -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3 and Qwen have it: a token is some bytes, which may begin or end within a character."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(_corpus(size), trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet))
    bpe.add_tokens(["<think>", "a token with spaces"])  # not special: they are shown
    return _wrapped(bpe)


def llama_2(size: int = SIZE, *, front: bool = True) -> PreTrainedTokenizerFast:
    """As Llama 2 and Mistral have it: `▁` for spaces, one of them in front, and bytes for what has no token.

    Without `front` as Gemma has it: no space is put in front, and none left out.
    """
    vocabulary, merges = _merged(size)
    bpe = Tokenizer(models.BPE(vocabulary, merges, unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True))
    prepend = [normalizers.Prepend("▁")] if front else []
    bpe.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "▁")])
    bpe.decoder = _llama_2_decoder(front=front)
    return _wrapped(bpe)


def _llama_2_decoder(*, front: bool = True) -> decoders.Decoder:
    strip = [decoders.Strip(" ", 1, 0)] if front else []
    chain = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    return decoders.Sequence(chain)


def unigram(size: int = SIZE, *, fallback: bool = True) -> PreTrainedTokenizerFast:
    """As SentencePiece makes them by likelihood; without `fallback` what has no token is unknown, and not shown."""
    vocabulary, _ = _merged(size)
    pieces = [(piece, -float(number)) for piece, number in sorted(vocabulary.items(), key=lambda item: item[1])]
    likely = [(piece, 0.0 if score > -len(SPECIAL) else score / size - 8) for piece, score in pieces]
    model = Tokenizer(models.Unigram(likely, unk_id=0, byte_fallback=fallback))
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    model.decoder = _llama_2_decoder() if fallback else decoders.Metaspace()
    return _wrapped(model)


def with_suffixes(size: int = SIZE) -> PreTrainedTokenizerFast:
    """As the first GPT has it: the end of a word is marked, and a space shown only once another word follows."""
    bpe = Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    bpe.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, end_of_word_suffix="</w>")
    bpe.train_from_iterator(_corpus(size), trainer)
    return _wrapped(bpe)


FAMILIES: Final[Mapping[str, Callable[[], PreTrainedTokenizerFast]]] = {
    "byte-level BPE": byte_level,
    "metaspace BPE with byte fallback": llama_2,
    "metaspace BPE without a space in front": lambda: llama_2(front=False),
    "Unigram with byte fallback": unigram,
    "Unigram": lambda: unigram(fallback=False),
    "BPE with suffixes": with_suffixes,
}
