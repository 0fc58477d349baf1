"""Changes to scores that depend on the tokens before: penalties for what was seen, and tokens that are forbidden.

Who is changed how is worked out on the host from token ids; the device gets one indexed operation for all rows.
"""

from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llama_inference.engine.native.parameters import Sampling

Tokens: TypeAlias = NDArray[np.int64]


def edit(scores: Tensor, rows: Seq[tuple[int, Sampling, Tokens]]) -> None:
    """Change scores [n, vocabulary] in place.

    Args: rows holds the number of a row, its parameters, and its tokens so far, prompt included.
    """
    # A chain of transformers' processors has the repetition penalty in it, but not OpenAI's two: nobody else has them.
    own = [(row, how if how.chain is None else replace(how, repetition=1.0), tokens) for row, how, tokens in rows]
    penalized = [row for row in own if row[1].penalizes]
    if penalized:
        _penalize(scores, penalized)
    banned = [(row, banned_tokens(how, tokens)) for row, how, tokens in rows if how.bans and how.chain is None]
    if any(tokens for _, tokens in banned):
        where = _indices(scores, [(row, np.fromiter(tokens, np.int64)) for row, tokens in banned])
        scores.index_put_(where, scores.new_tensor(-torch.inf))


def _penalize(scores: Tensor, rows: Seq[tuple[int, Sampling, Tokens]]) -> None:
    for kind in (_repetition, _counts):
        places: list[tuple[int, Tokens]] = []
        factors: list[NDArray[np.float32]] = []
        for row, how, tokens in rows:
            seen, amount = kind(how, tokens)
            places.append((row, seen))
            factors.append(amount)
        if not sum(map(len, factors)):
            continue
        where = _indices(scores, places)
        amounts = torch.from_numpy(np.concatenate(factors)).to(scores.device)
        old = scores[where]
        if kind is _repetition:
            scores.index_put_(where, torch.where(old < 0, old * amounts, old / amounts))
        else:
            scores.index_put_(where, old - amounts)


def _repetition(how: Sampling, tokens: Tokens) -> tuple[Tokens, NDArray[np.float32]]:
    """Every token that was seen, in the prompt as well, and the factor."""
    seen = np.unique(tokens) if how.repetition != 1.0 else tokens[:0]
    return seen, np.full(len(seen), how.repetition, np.float32)


def _counts(how: Sampling, tokens: Tokens) -> tuple[Tokens, NDArray[np.float32]]:
    """Every token of the output, and what is subtracted: a part for each time, and a part for being there at all."""
    if how.frequency == 0.0 and how.presence == 0.0:
        return tokens[:0], np.empty(0, np.float32)
    seen, counts = np.unique(tokens[how.prompt_length :], return_counts=True)
    return seen, (how.frequency * counts + how.presence).astype(np.float32)


def banned_tokens(how: Sampling, tokens: Tokens) -> set[int]:
    """Return what may not come next."""
    banned: set[int] = set(how.suppress)
    if len(tokens) == how.prompt_length:
        banned.update(how.begin_suppress)
    if len(tokens) < how.min_length:
        banned.update(how.ends)
    if how.ngram:
        banned.update(_repeating(how.ngram, tokens))
    for word in how.bad_words:
        before = len(word) - 1
        if before <= len(tokens) and tokens[len(tokens) - before :].tolist() == list(word[:-1]):
            banned.add(word[-1])
    return banned


def _repeating(size: int, tokens: Tokens) -> list[int]:
    """What would complete an n-gram of that size that is there already."""
    before = size - 1
    if len(tokens) < size:
        return []
    if not before:
        return tokens.tolist()
    windows = np.lib.stride_tricks.sliding_window_view(tokens[:-1], before)
    hits = np.flatnonzero((windows == tokens[-before:]).all(axis=1))
    return tokens[hits + before].tolist()


def _indices(scores: Tensor, places: Seq[tuple[int, Tokens]]) -> tuple[Tensor, Tensor]:
    rows = np.concatenate([np.full(len(tokens), row, np.int64) for row, tokens in places])
    columns = np.concatenate([tokens for _, tokens in places])
    return torch.from_numpy(rows).to(scores.device), torch.from_numpy(columns).to(scores.device)
