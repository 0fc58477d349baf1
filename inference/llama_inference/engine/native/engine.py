"""The engine: it opens jobs, carries out step plans on them, and reports. One thread at a time."""

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from llama_inference.engine.native.architecture import Pretrained
from llama_inference.engine.native.beams import Continuations
from llama_inference.engine.native.choosing import NOTHING_LEFT, choose, continue_beams
from llama_inference.engine.native.jobs import BeamJob, Job, JobSpec, SequenceJob, open_job
from llama_inference.engine.native.layout import Layout, Scored, lay_out
from llama_inference.engine.native.logprobs import Pick, logprobs
from llama_inference.engine.native.plan import Add, Place, Prefill, Report, SlabShape, StepPlan
from llama_inference.engine.native.stepper import Stepper
from llama_inference.engine.native.weights import Weights, pack
from llama_inference.errors import EngineLostError, InternalError, InvalidRequestError
from llama_inference.values import Logprob

REFUSED: Final = "this combination of parameters cannot be computed: "


class Engine:
    """One model, and the jobs that run on it."""

    def __init__(self, stepper: Stepper, *, announce: Callable[[Layout | None], None] = lambda _: None) -> None:
        """`stepper` computes the steps; `announce` is told each one first, None for a reset, so that others follow."""
        self._stepper = stepper
        self._announce = announce
        self._jobs: dict[int, Job] = {}
        self._used = 0

    @classmethod
    def of(cls, model: Pretrained, *, max_context: int, batch_invariant: bool = False) -> "Engine":
        """Return an engine of one rank; the weights of `model`, which `covers_model` accepts, are packed in place.

        `max_context` is at most the model's `max_position_embeddings`. `batch_invariant`: scores do not depend on
        company, bit for bit, see `invariance`.
        """
        return cls(Stepper(model, pack(model), max_context=max_context, batch_invariant=batch_invariant))

    @property
    def weights(self) -> Weights:
        """What is multiplied with."""
        return self._stepper.weights

    @property
    def bytes_per_entry(self) -> int:
        """What one entry of keys and values takes, on each rank."""
        return self._stepper.bytes_per_entry

    @property
    def jobs(self) -> int:
        """How many jobs are open."""
        return len(self._jobs)

    @property
    def slabs(self) -> int:
        """How many slabs of keys and values exist."""
        return self._stepper.slabs

    @property
    def entries_in_use(self) -> int:
        """Entries that the jobs of the last step need; may be read from any thread."""
        return self._used

    def open(self, number: int, spec: object) -> None:
        """Take a job in, described by a `JobSpec`, under a number that is not in use."""
        assert isinstance(spec, JobSpec)  # noqa: S101 - it comes from this engine's own backend
        self._jobs[number] = open_job(spec)

    def close(self, number: int) -> None:
        """Forget a job, ended or not; nothing happens when it is not known."""
        self._jobs.pop(number, None)
        self._count()

    @property
    def on_gpu(self) -> bool:
        """Whether the model is on a GPU."""
        return self._stepper.device.type == "cuda"

    def reset(self) -> None:
        """Forget all jobs and give back all slabs."""
        self._jobs.clear()
        self._announce(None)
        self._stepper.clear()
        self._count()

    def _count(self) -> None:
        self._used = sum(job.kept for job in self._jobs.values())

    def try_out(self, spec: object) -> None:
        """Read a prompt and decode one token, to set up what is set up lazily; no job may be open.

        Raises: as `step`.
        """
        self.open(0, spec)
        spec = self._jobs[0].spec
        place, length = Place(0, 0), len(spec.prompt)
        slab = Add(place.slab, SlabShape(spec.width, length + 2 * spec.width, 1))
        self.step(StepPlan(memory=(slab,), places={0: place}, prefills=(Prefill(0, 0, length, last=True),)))
        self.step(StepPlan(places={0: place}, decodes=(0,)))
        self.reset()

    def step(self, plan: StepPlan) -> list[Report]:
        """Carry out one step; return a report for each job that chose tokens or failed.

        Raises:
            EngineLostError: the device is gone; nothing will work again in this process.
            InternalError: the device has too little memory for this step.
        """
        try:
            return self._step(plan)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            message = "the device has too little memory for this batch: try again, or lower num_beams or lengths"
            raise InternalError(message, code="out_of_memory") from None
        except torch.AcceleratorError as error:
            raise EngineLostError(f"the device failed: {error}") from error

    @torch.inference_mode()
    def _step(self, plan: StepPlan) -> list[Report]:
        for number in plan.restarts:
            self._jobs[number].restart()
        if plan.empty and not plan.memory:
            return []
        for prefill in plan.prefills:
            self._jobs[prefill.job].clock.start()
        layout, order, scored = lay_out(plan, self._jobs, apart=self._stepper.batch_invariant)
        self._announce(layout)
        logits = self._stepper.carry_out(layout)
        for prefill in plan.prefills:
            self._jobs[prefill.job].kept = prefill.start + prefill.tokens
        for number in plan.decodes:
            job = self._jobs[number]
            job.kept = job.length if isinstance(job, SequenceJob) else job.entries
        self._count()
        if logits is None:
            return []
        self._score(scored, logits)
        return self._choose(order, logits)

    def _score(self, scored: tuple[Scored, ...], logits: Tensor) -> None:
        """Let jobs take note of how likely the tokens of their prompts are; the last rows of logits are theirs."""
        first = logits.shape[0] - sum(each.count for each in scored)
        for each in scored:
            job = self._jobs[each.job]
            after = job.spec.prompt[each.first + 1 : each.first + each.count + 1]
            picks = [Pick(row, token, job.spec.prompt_logprobs or 0) for row, token in enumerate(after)]
            job.read += logprobs(logits[first : first + each.count], picks)
            first += each.count

    def _choose(self, order: tuple[tuple[int, int], ...], logits: Tensor) -> list[Report]:
        """Let each job that the order names take its rows of logits."""
        sequences: dict[int, SequenceJob] = {}
        searches: dict[int, BeamJob] = {}
        rows: dict[int, list[int]] = {}
        first = 0
        for number, count in order:
            job = self._jobs[number]
            # After its prompt a search has one row, which all its beams share.
            rows[number] = list(range(first, first + count)) * (job.spec.width // count)
            if isinstance(job, SequenceJob):
                sequences[number] = job
            else:
                searches[number] = job
            first += count
        reports: list[Report] = []
        if sequences:
            told = [number for number, job in sequences.items() if job.spec.logprobs is not None]
            before = _pick(logits, rows, told).clone() if told else logits  # scores are changed in place
            found = choose(_pick(logits, rows, sequences), list(sequences.values()))
            tokens = dict(zip(sequences, found, strict=True))
            likely = _likely(before, {number: (sequences[number], tokens[number]) for number in told})
            reports += [_append(*job, tokens[job[0]], likely.get(job[0])) for job in sequences.items()]
        if searches:
            scores = _pick(logits, rows, searches)
            continued = continue_beams(scores, list(searches.values()))
            continued = _told(scores, list(searches.values()), continued)
            reports += [_advance(*job, best) for job, best in zip(searches.items(), continued, strict=True)]
        return reports


def _pick(logits: Tensor, rows: dict[int, list[int]], jobs: Iterable[int]) -> Tensor:
    wanted = [row for number in jobs for row in rows[number]]
    if wanted == list(range(logits.shape[0])):
        return logits
    return logits.index_select(0, torch.tensor(wanted, device=logits.device))


def _likely(scores: Tensor, chosen: dict[int, tuple[SequenceJob, int | None]]) -> dict[int, Logprob]:
    """How likely the chosen tokens were; scores [jobs, vocabulary], in their order."""
    found = [
        (number, Pick(row, token, job.spec.logprobs or 0))
        for row, (number, (job, token)) in enumerate(chosen.items())
        if token is not None
    ]
    values = logprobs(scores, [pick for _, pick in found])
    return {number: value for (number, _), value in zip(found, values, strict=True)}


def _told(scores: Tensor, jobs: Seq[BeamJob], found: Seq[Continuations | None]) -> list[Continuations | None]:
    """The continuations, with log-probabilities where they are asked for; scores [beams of all jobs, vocabulary]."""
    told: list[Continuations | None] = []
    first = 0
    for job, each in zip(jobs, found, strict=True):
        top, own = job.spec.logprobs, scores[first : first + job.spec.width]
        first += job.spec.width
        if each is None or top is None:
            told.append(each)
            continue
        picks = [Pick(row, token, top) for row, token in zip(each.parents.tolist(), each.tokens.tolist(), strict=True)]
        told.append(replace(each, logprobs=tuple(logprobs(own, picks))))
    return told


def _append(number: int, job: SequenceJob, token: int | None, likely: Logprob | None) -> Report:
    if token is None:
        why = None if job.guide is None else job.guide.failure
        message = REFUSED + NOTHING_LEFT if why is None else f"the grammar cannot be followed: {why[:300]}"
        return Report(job=number, error=InvalidRequestError(message))
    entries = job.length
    first = entries == len(job.spec.prompt)
    reason = job.append(token, likely)
    return Report(
        job=number,
        tokens=(token,),
        logprobs=() if likely is None else (likely,),
        prompt_logprobs=tuple(job.read) if first else (),
        entries=entries,
        done=None if reason is None else job.result(reason),
    )


def _advance(number: int, job: BeamJob, found: Continuations | None) -> Report:
    if found is None:
        return Report(job=number, error=InvalidRequestError(REFUSED + NOTHING_LEFT))
    try:
        goes_on = job.advance(found)
    except OverflowError:
        message = "length_penalty is too large for outputs of this length"
        return Report(job=number, error=InvalidRequestError(REFUSED + message, param="length_penalty"))
    return Report(job=number, entries=job.entries, done=None if goes_on else job.results())
