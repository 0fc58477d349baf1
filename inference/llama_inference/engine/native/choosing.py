"""The next tokens of a step: scores on the device, decisions by the jobs; one transfer to the host for each kind."""

import logging
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from llama_inference.engine.native.beams import Continuations
from llama_inference.engine.native.edits import Tokens, edit
from llama_inference.engine.native.guides import Guide, Masks
from llama_inference.engine.native.jobs import BeamJob, SequenceJob
from llama_inference.engine.native.parameters import Sampling
from llama_inference.engine.native.sampling import candidates, draw

log = logging.getLogger(__name__)
MASKS: Final = Masks()
NOTHING_LEFT: Final = "they leave no token to choose (all scores are -inf, or some are nan or inf)"


def choose(logits: Tensor, jobs: Seq[SequenceJob]) -> list[int | None]:
    """Return the next token of each sequence, None where its scores leave nothing to choose.

    Args: logits float32 [jobs, vocabulary]; changed in place.
    """
    _guide(logits, [(row, job.guide) for row, job in enumerate(jobs)])
    _process(logits, [(job.spec.sampling, job.tokens) for job in jobs])
    best, tokens = logits.max(dim=-1)
    drawn = [row for row, job in enumerate(jobs) if job.spec.sampling.sample]
    for rows in _alike(drawn, jobs):
        scores = logits if len(rows) == len(jobs) else logits[rows]
        how = [_unless_chained(jobs[row].spec.sampling) for row in rows]
        uniform = torch.tensor([jobs[row].uniform() for row in rows], dtype=torch.float64)
        tokens[rows] = draw(*candidates(scores, how), uniform.to(logits.device))
    found: list[int] = torch.where(torch.isfinite(best), tokens, -1).tolist()
    return [None if token < 0 else token for token in found]


def _alike(rows: Seq[int], jobs: Seq[SequenceJob]) -> list[list[int]]:
    """Split rows into those with a top-k, for which few candidates do, and the others."""
    few = [row for row in rows if jobs[row].spec.sampling.top_k and jobs[row].spec.sampling.chain is None]
    many = [row for row in rows if row not in few]
    return [each for each in (few, many) if each]


def _unless_chained(how: Sampling) -> Sampling:
    """What is left to filter: nothing, where transformers' own processors have done it."""
    return Sampling(sample=True) if how.chain is not None else how


def continue_beams(logits: Tensor, jobs: Seq[BeamJob]) -> list[Continuations | None]:
    """Return the candidates of each beam search, None where its scores leave nothing to choose.

    Args: logits float32 [beams of all jobs, vocabulary].
    """
    scores = torch.log_softmax(logits, dim=-1)
    _guide(scores, enumerate(guide for job in jobs for guide in job.guides or [None] * job.spec.width))
    texts = [job.search.texts() for job in jobs]
    _process(scores, [(job.spec.sampling, text) for job, rows in zip(jobs, texts, strict=True) for text in rows])
    results: dict[int, Continuations | None] = {}
    firsts = np.cumsum([0, *(job.spec.width for job in jobs)]).tolist()
    for alike in _same_shape(jobs):
        rows = [scores[firsts[number] : firsts[number + 1]] for number in alike]
        together = scores if len(alike) == len(jobs) else torch.cat(rows)
        results.update(zip(alike, _best(together, [jobs[number] for number in alike]), strict=True))
    return [results[number] for number in range(len(jobs))]


def _same_shape(jobs: Seq[BeamJob]) -> list[list[int]]:
    """Numbers of jobs that one operation serves; what is drawn is drawn for each alone."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, job in enumerate(jobs):
        alone = (number,) if job.spec.sampling.sample else ()
        groups.setdefault((job.spec.width, job.search.candidates, *alone), []).append(number)
    return list(groups.values())


def _best(scores: Tensor, jobs: Seq[BeamJob]) -> list[Continuations | None]:
    """The candidates of searches of one shape; scores [jobs * width, vocabulary]."""
    width, count = jobs[0].spec.width, jobs[0].search.candidates
    sample = jobs[0].spec.sampling.sample
    ids: Tensor | None = None
    if sample:
        scores, ids = candidates(scores, [_unless_chained(jobs[0].spec.sampling)] * width)
    before = torch.from_numpy(np.stack([job.search.scores for job in jobs])).to(scores.device)
    total = (scores.view(len(jobs), width, -1) + before[:, :, None]).flatten(1)
    order = _drawn(total, jobs[0].generator) if sample else total
    places = order.topk(min(count, total.shape[1]), dim=-1).indices
    values = total.gather(-1, places)
    each = scores.shape[-1]
    tokens = places % each
    if ids is not None:
        tokens = ids.reshape(len(jobs), -1).gather(-1, places)
    columns = [part.cpu().numpy() for part in (values, places // each, tokens)]
    return [_checked(*parts) for parts in zip(*columns, strict=True)]


def _drawn(total: Tensor, generator: torch.Generator) -> Tensor:
    """Scores whose order is that of drawing without replacement by softmax(total): the exponential race."""
    noise = torch.empty(total.shape, dtype=torch.float32).exponential_(generator=generator).to(total.device)
    return torch.log_softmax(total, dim=-1) - noise.log()


def _checked(values: np.ndarray, parents: Tokens, tokens: Tokens) -> Continuations | None:
    return Continuations(values, parents, tokens) if np.isfinite(values.max()) else None


def _guide(scores: Tensor, rows: Iterable[tuple[int, Guide | None]]) -> None:
    """Forbid what the rows' grammars forbid; rows without one cost nothing."""
    held = [(row, guide) for row, guide in rows if guide is not None]
    if held:
        MASKS.hold(scores, held)


def _process(scores: Tensor, rows: Seq[tuple[Sampling, Tokens]]) -> None:
    edit(scores, [(number, how, tokens) for number, (how, tokens) in enumerate(rows)])
    for number, (how, tokens) in enumerate(rows):
        if how.chain is not None:
            ids: Any = torch.from_numpy(tokens)[None].to(scores.device)
            try:
                scores[number] = how.chain(ids, scores[number : number + 1])[0]
            except (ValueError, TypeError, IndexError, OverflowError) as error:
                log.info("transformers' processors refuse a request", exc_info=error)
                scores[number] = torch.nan  # this row has nothing to choose; the others go on
