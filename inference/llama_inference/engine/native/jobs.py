"""What the engine remembers of each job: its tokens, its chance, where its beams' pasts lie, and when it must end."""

from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
import torch
from llguidance import LLMatcher

from llama_inference.engine.clock import Clock
from llama_inference.engine.native.beams import BeamSearch, Continuations, Flags
from llama_inference.engine.native.edits import Tokens
from llama_inference.engine.native.guides import Guide
from llama_inference.engine.native.parameters import Beams, Sampling
from llama_inference.engine.native.plan import Place
from llama_inference.text.stops import StopScan, StopStrings
from llama_inference.values import FinishReason, Logprob, Sequence

SEEDS: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job as it is asked for.

    Attributes:
        prompt: token ids, at least one.
        max_length: prompt and output together; more than the prompt.
        sampling: how tokens are chosen.
        beams: the beam search, None for a plain sequence.
        seed: of everything that is drawn for this job.
        stops: the stop strings, None when there are none.
        clock: of the request, which its jobs share; it starts with the first step of the first.
        logprobs, prompt_logprobs: as in `values.Generation`.
        grammar: what the output is held to, at its beginning.
        eos: the end token that the grammar knows of, see `Guide`.
        plain_ends: end tokens that are text as any other.
    """

    prompt: tuple[int, ...]
    max_length: int
    sampling: Sampling
    beams: Beams | None = None
    seed: int = 0
    stops: StopStrings | None = None
    clock: Clock = field(default_factory=lambda: Clock(None))
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    grammar: LLMatcher | None = None
    eos: int | None = None
    plain_ends: frozenset[int] = frozenset()

    @property
    def guide(self) -> Guide | None:
        """A guide at the beginning of the grammar, where there is one."""
        return (
            None
            if self.grammar is None
            else Guide(self.grammar, self.sampling.ends, eos=self.eos, plain=self.plain_ends)
        )

    @property
    def width(self) -> int:
        """Rows that decode at the same time."""
        return 1 if self.beams is None else self.beams.width


class SequenceJob:
    """One sequence, greedy or drawn.

    Attributes:
        length: tokens so far, prompt included; entry and position of a token are its number.
        seat: the slot whose mask shows this job's entries, None when none does.
        kept: entries of its slot in use.
        logprobs: of the output's tokens; read: of the prompt's, but for its first. Both only where asked for.
    """

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self.clock = spec.clock
        self.seat: Place | None = None
        self.kept = 0
        self.logprobs: list[Logprob] = []
        self.read: list[Logprob] = []
        self.guide = spec.guide
        self._tokens = np.empty(spec.max_length, np.int64)
        self.length = len(spec.prompt)
        self._tokens[: self.length] = spec.prompt
        self._stops = StopScan(spec.stops, spec.prompt)
        self._generator = torch.Generator().manual_seed(spec.seed % SEEDS)

    @property
    def tokens(self) -> Tokens:
        """All tokens so far, int64 [length]."""
        return self._tokens[: self.length]

    def restart(self) -> None:
        """Its keys and values are gone: all that is known becomes the text to read. Its chance goes on."""
        self.seat, self.kept = None, 0

    def uniform(self) -> float:
        """The next number in [0, 1) of this job's own chance."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))

    def append(self, token: int, likely: Logprob | None = None) -> FinishReason | None:
        """Take the next token, and how likely it was; return why the sequence ends with it, None when it goes on."""
        if likely is not None:
            self.logprobs.append(likely)
        self._tokens[self.length] = token
        self.length += 1
        if self.guide is not None:
            self.guide.take(token)
            if self.guide.over:  # nothing but an end could follow
                return FinishReason.STOP
        if self._stops.finds(token) or token in self.spec.sampling.ends:
            return FinishReason.STOP
        if self.length >= self.spec.max_length:
            return FinishReason.LENGTH
        return FinishReason.TIME if self.clock.expired else None

    def result(self, reason: FinishReason) -> tuple[Sequence, ...]:
        """The finished sequence."""
        output = tuple(self.tokens[len(self.spec.prompt) :].tolist())
        return (Sequence(output, reason, tuple(self.logprobs), tuple(self.read)),)


class BeamJob:
    """One beam search, and which entries of its slot are the past of which beam.

    Entry `len(prompt) + i` is column `i` of the pasts. An entry that is no running beam's past is written anew.
    `seat`, `kept` and `read` are as in `SequenceJob`.
    """

    def __init__(self, spec: JobSpec, how: Beams) -> None:
        self.spec = spec
        self.clock = spec.clock
        self.read: list[Logprob] = []
        self._how = how
        self.restart()

    def restart(self) -> None:
        """Begin anew: nothing was handed out, and the same seed finds the same beams."""
        self.seat: Place | None = None
        self.kept = 0
        self.search = BeamSearch(
            self._how,
            prompt=np.array(self.spec.prompt, np.int64),
            max_length=self.spec.max_length,
            ends=self.spec.sampling.ends,
            stops=self.spec.stops,
        )
        self.generator = torch.Generator().manual_seed(self.spec.seed % SEEDS)
        self._pasts = np.zeros((self._how.width, 0), np.bool_)
        guide = self.spec.guide
        self.guides: list[Guide] = [] if guide is None else [guide] * self._how.width

    def advance(self, found: Continuations) -> bool:
        """Take one step; return whether the search goes on. Raises as `BeamSearch.advance`."""
        goes_on = self.search.advance(found, expired=self.clock.expired)
        if self.guides:
            forks = [self.guides[parent].fork() for parent in self.search.parents.tolist()]
            for guide, token in zip(forks, self.search.tokens[:, -1].tolist(), strict=True):
                guide.take(token)
            self.guides = forks
        return goes_on

    @property
    def tokens(self) -> Tokens:
        """The text to read before the first step, int64 [length]."""
        return np.array(self.spec.prompt, np.int64)

    def results(self) -> tuple[Sequence, ...]:
        """The finished sequences, best first."""
        return tuple(replace(sequence, prompt_logprobs=tuple(self.read)) for sequence in self.search.results())

    @property
    def entries(self) -> int:
        """Entries of the slot in use, those in between that are free included."""
        return len(self.spec.prompt) + self._pasts.shape[1]

    @property
    def pasts(self) -> Flags:
        """What each running beam sees: bool [width, entries after the prompt]."""
        return self._pasts

    def next_entries(self) -> Tokens:
        """Give each running beam an entry for its last token; return them, int64 [width]."""
        pasts = self._pasts[self.search.parents]
        free = np.flatnonzero(~pasts.any(axis=0))[: self._how.width]
        missing = self._how.width - len(free)
        if missing:
            free = np.concatenate((free, pasts.shape[1] + np.arange(missing)))
            pasts = np.concatenate((pasts, np.zeros((self._how.width, missing), np.bool_)), axis=1)
        pasts[np.arange(self._how.width), free] = True
        self._pasts = pasts
        return free + len(self.spec.prompt)


Job: TypeAlias = SequenceJob | BeamJob


def open_job(spec: JobSpec) -> Job:
    """Return the state of a new job."""
    return SequenceJob(spec) if spec.beams is None else BeamJob(spec, spec.beams)
