"""Backends that compute elsewhere, over a source that a test controls: no vLLM, no TGI, no torch."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from llama_inference.backends.streaming import Chunk, StreamingBackend
from llama_inference.errors import EngineLostError, InternalError, UnavailableError
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.values import FinishReason, Generation, ModelInfo, Sequence, Step
from tests.llama_inference.harness import Served, eventually, serve


class Characters:
    """A vocabulary whose ids are code points."""

    def hidden(self, token: int) -> bool:
        """All are seen."""
        del token
        return False

    def adds(self, token: int, after: int | None) -> bytes:
        """The character."""
        del after
        return self.literal(token)

    def literal(self, token: int) -> bytes:
        """The character."""
        return chr(token).encode()


class Elsewhere(StreamingBackend):
    """Counts up from the prompt's last token; what it is told to do instead is in `fault`."""

    def __init__(self, *, rows: int = 4) -> None:
        super().__init__(rows=rows, name="elsewhere")
        self.info = ModelInfo(max_context=4096, vocabulary=5000, backend="tgi")
        self.running = 0
        self.seeds: list[int] = []
        self.fault: Exception | None = None
        self.waits = False

    def encode(self, text: str, *, special: bool) -> list[int]:
        """A token a character."""
        return list(text.encode())

    @property
    def vocabulary(self) -> Any:
        """A character a token."""
        return Characters()

    def call(self, generation: Generation, prompt: tuple[int, ...], seed: int) -> object:
        """How many tokens, from where."""
        self.seeds.append(seed)
        beams = generation.parameters.get("num_beams") or 1
        return prompt[-1], generation.max_tokens - len(prompt), generation.sequences if beams > 1 else 0

    async def stream(self, call: Any) -> AsyncGenerator[Chunk]:
        """Count."""
        first, count, returned = call
        self.running += 1
        try:
            tokens = tuple(range(first + 1, first + 1 + count))
            if returned:
                yield Chunk(done=(Sequence(tokens, FinishReason.LENGTH),) * returned)
                return
            for number, token in enumerate(tokens, 1):
                if self.fault is not None and number == 2:
                    raise self.fault
                if self.waits and number == 2:
                    await asyncio.Event().wait()
                done = (Sequence(tokens, FinishReason.LENGTH),) if number == count else None
                yield Chunk((token,), done)
        finally:
            self.running -= 1


class Watcher:
    """Collects steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def step(self, steps: Any) -> None:
        """Keep them."""
        self.steps += steps


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """A backend whose streams are a test's."""
    backend = Elsewhere()
    yield backend
    eventually(lambda: backend.running == 0, "no stream left behind")
    backend.loop.stop()


@pytest.fixture
def answering(elsewhere: Elsewhere) -> Iterator[Served]:
    """A server over it."""
    with serve(lambda _progress, _metrics: elsewhere) as served:
        yield served.ready()


def test_streams_join_the_batch(elsewhere: Elsewhere) -> None:
    """Each job's tokens come in order, and its result is whole, whatever else runs."""
    batch = Batch(elsewhere.executor, elsewhere.capacity)
    request = Generation(prompts=((10,), (20, 21)), max_tokens=5, streamed=True)
    numbers = {batch.submit(job): job.index for job in elsewhere.jobs(request)}
    tokens: dict[int, list[int]] = {0: [], 1: []}
    done: dict[int, tuple[Sequence, ...]] = {}
    while not batch.idle:
        for report in batch.step():
            tokens[numbers[report.job]] += report.tokens
            if report.done:
                done[numbers[report.job]] = report.done
    assert tokens == {0: [11, 12, 13, 14], 1: [22, 23, 24]}
    assert {index: rows[0].token_ids for index, rows in done.items()} == {0: (11, 12, 13, 14), 1: (22, 23, 24)}


def test_more_jobs_than_rows_wait_their_turn() -> None:
    """The batch's rows bound what is asked of the other side at once."""
    backend = Elsewhere(rows=1)
    batch = Batch(backend.executor, backend.capacity)
    for job in backend.jobs(Generation(prompts=((10,), (20,)), max_tokens=3)):
        batch.submit(job)
    while not batch.idle:
        batch.step()
        assert backend.running <= 1
    backend.loop.stop()


def test_every_sequence_has_a_seed_of_its_own(elsewhere: Elsewhere) -> None:
    """A request's seed makes all of them, the same each time."""
    request = Generation(prompts=((1,),), max_tokens=3, sequences=3, seed=7)
    elsewhere.jobs(request)
    elsewhere.jobs(request)
    assert len(set(elsewhere.seeds[:3])) == 3
    assert elsewhere.seeds[:3] == elsewhere.seeds[3:]


def test_generate_runs_a_request_beside_the_batch(elsewhere: Elsewhere) -> None:
    """As golden prompts and the warm-up do: whole results in order, steps as they come."""
    watcher = Watcher()
    request = Generation(prompts=((10,), (20,)), max_tokens=3, sequences=2, streamed=True)
    found = elsewhere.generate(request, watcher)
    assert [row.token_ids for row in found] == [(11, 12), (11, 12), (21, 22), (21, 22)]
    assert {step.index for step in watcher.steps} == {0, 1, 2, 3}


def test_a_beam_search_is_one_call(elsewhere: Elsewhere) -> None:
    """Its sequences come together."""
    request = Generation(prompts=((10,),), max_tokens=3, sequences=2, parameters={"num_beams": 4})
    assert [job.width for job in elsewhere.jobs(request)] == [4]
    assert [row.token_ids for row in elsewhere.generate(request, Watcher())] == [(11, 12), (11, 12)]


def test_time_that_is_up_ends_an_output(elsewhere: Elsewhere) -> None:
    """With what is there, also while nothing comes; and the stream is closed."""
    elsewhere.waits = True
    (found,) = elsewhere.generate(Generation(prompts=((10,),), max_tokens=20, max_time=0.2), Watcher())
    assert found == Sequence((11,), FinishReason.TIME)


def test_a_stop_string_ends_a_stream_that_would_go_on(elsewhere: Elsewhere) -> None:
    """At its token, which is the last that is counted; the other side is told of no stop strings."""
    request = Generation(prompts=((ord("a"), ord("f")),), max_tokens=2000, stop_strings=("ij",), streamed=True)
    watcher = Watcher()
    (found,) = elsewhere.generate(request, watcher)
    assert found == Sequence(tuple(b"ghij"), FinishReason.STOP)
    assert [token for step in watcher.steps for token in step.token_ids] == list(b"ghij")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [(UnavailableError("away", retry_after=3), 503, "unavailable"), (RuntimeError("secret"), 500, "internal_error")],
)
def test_what_goes_wrong_elsewhere_is_told(
    answering: Served, elsewhere: Elsewhere, fault: Exception, status: int, code: str
) -> None:
    """Our own errors as they are, others without their words; the next request is answered."""
    elsewhere.fault = fault
    answer = answering.predict({"prompt": "A", "max_new_tokens": 4})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "secret" not in answer.text
    elsewhere.fault = None
    assert answering.predict({"prompt": "A", "max_new_tokens": 4}).json()["data"] == ["BCD"]


def test_an_engine_that_is_lost_ends_the_server(elsewhere: Elsewhere) -> None:
    """Its supervisor starts a fresh one."""
    lost: list[str] = []
    elsewhere.fault = EngineLostError("vLLM's engine ended")
    with serve(lambda _progress, _metrics: elsewhere, lost=lost) as served:
        assert served.ready().predict({"prompt": "A", "max_new_tokens": 4}).status_code == 503
        eventually(lambda: lost, "the loss being told")


def test_a_caller_that_hangs_up_ends_its_stream(answering: Served, elsewhere: Elsewhere) -> None:
    """So that the other side stops computing."""
    elsewhere.waits = True
    with answering.connection({"prompt": "A", "max_new_tokens": 9, "stream": True}) as connection:
        eventually(lambda: elsewhere.running == 1, "the stream")
        connection.recv(100)
    eventually(lambda: elsewhere.running == 0, "its end")


def test_a_failure_that_nobody_expected_has_no_words_of_its_own(elsewhere: Elsewhere) -> None:
    """They stand in the log."""
    elsewhere.fault = KeyError("x")
    with pytest.raises(InternalError, match="log"):
        elsewhere.generate(Generation(prompts=((10,),), max_tokens=5), Watcher())
