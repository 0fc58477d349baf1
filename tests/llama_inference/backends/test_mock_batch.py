"""The mock that a server runs: latency and rate of each request, many at once, through the real batch."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from llama_inference.backends.mock import TEXT
from llama_inference.backends.mock_batch import BatchingMock, MockExecutor, Pace
from llama_inference.backends.opening import open_backend
from llama_inference.scheduler.batching.batch import Batch
from llama_inference.values import FinishReason, Generation, Sequence
from tests.llama_inference.harness import Served, serve, settings


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Bench:
    """A mock in virtual time."""

    def __init__(self, pace: Pace, rows: int = 8) -> None:
        self.clock = Clock()
        self.backend = BatchingMock(pace, rows=rows)
        self.backend.executor = MockExecutor(pace, clock=self.clock, sleep=self.clock.sleep)
        self.batch = Batch(self.backend.executor, self.backend.capacity)

    def submit(self, generation: Generation) -> list[int]:
        """Let a request's jobs wait; return their numbers."""
        return [self.batch.submit(job) for job in self.backend.jobs(generation)]

    def run(self) -> Iterator[tuple[float, int, tuple[int, ...], tuple[Sequence, ...] | None]]:
        """Yield time since the start, job, tokens and result of each report."""
        while not self.batch.idle:
            for report in self.batch.step():
                yield round(self.clock.now - 100, 6), report.job, report.tokens, report.done


def a_request(tokens: int, prompt: int = 3, **given: object) -> Generation:
    """A request for so many tokens."""
    return Generation(prompts=(tuple(range(prompt)),), max_tokens=prompt + tokens, **given)  # pyright: ignore[reportArgumentType]


def test_each_request_has_its_own_latency_and_rate() -> None:
    """First token after its latency, the others at its rate, beside another that came at the same time."""
    bench = Bench(Pace(first_token_s=0.2, token_s=0.05))
    bench.submit(a_request(3))
    bench.submit(a_request(2))
    times = [(time, job) for time, job, _, _ in bench.run()]
    assert times == [(0.2, 0), (0.2, 1), (0.25, 0), (0.25, 1), (0.3, 0)]


def test_a_request_that_comes_later_does_not_wait_for_others_tokens() -> None:
    """The mock looks for newcomers while it waits."""
    bench = Bench(Pace(first_token_s=1.0))
    bench.submit(a_request(1))
    while bench.clock.now < 100.5:
        bench.batch.step()
    bench.submit(a_request(1))
    (first, _, _, _), (second, _, _, _) = bench.run()
    assert first == pytest.approx(1.0)
    assert second == pytest.approx(1.5, abs=0.02)


def test_rows_bound_what_runs_at_once() -> None:
    """A request above the rows waits for another to end."""
    bench = Bench(Pace(first_token_s=1.0), rows=1)
    bench.submit(a_request(1))
    bench.submit(a_request(1))
    assert [time for time, *_ in bench.run()] == [pytest.approx(1.0), pytest.approx(2.0)]


def test_outputs_end_after_the_tokens_asked_of_the_mock() -> None:
    """A configured length is an end like a model's own."""
    bench = Bench(Pace(tokens=4))
    bench.submit(a_request(100))
    *_, (_, _, _, done) = bench.run()
    assert done == (Sequence(tuple(TEXT.encode()[:4]), FinishReason.STOP),)


def test_room_stop_strings_and_time_end_an_output() -> None:
    """The contract's own ends hold for the mock as well."""
    ends: dict[int, FinishReason] = {}
    bench = Bench(Pace(token_s=0.1))
    bench.submit(a_request(5))
    bench.submit(a_request(50, stop_strings=("llama",)))
    bench.submit(a_request(50, max_time=0.25))
    for _, job, _, done in bench.run():
        if done:
            ends[job] = done[0].finish_reason
    assert ends == {0: FinishReason.LENGTH, 1: FinishReason.STOP, 2: FinishReason.TIME}


def test_the_time_is_that_of_the_whole_request() -> None:
    """The second prompt waits for the first one's row: its time is over with the first token."""
    bench = Bench(Pace(token_s=0.1), rows=1)
    bench.submit(replace(a_request(50, max_time=0.25), prompts=((1,), (2,))))
    lengths = [len(done[0].token_ids) for *_, done in bench.run() if done]
    assert lengths[1] == 1 < lengths[0]


def test_beams_and_sequences_are_answered_in_order() -> None:
    """Each prompt has as many results as it asked for."""
    two = Generation(prompts=((1,), (1, 2)), max_tokens=4, sequences=2, parameters={"num_beams": 2})
    bench = Bench(Pace())
    assert [(job.index, job.width) for job in bench.backend.jobs(two)] == [(0, 2), (2, 2)]
    bench.submit(two)
    results = [done for *_, done in bench.run() if done]
    assert [[len(row.token_ids) for row in done] for done in results] == [[2, 2], [3, 3]]
    drawn = Generation(prompts=((1,),), max_tokens=4, sequences=3)
    assert [job.index for job in bench.backend.jobs(drawn)] == [0, 1, 2]


@pytest.fixture
def mock() -> Iterator[Served]:
    """A ready server as `--backend mock` starts it."""
    opened = settings(backend="mock", mock_tokens=20, max_concurrent_sequences=32)
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics)) as served:
        yield served.ready()


def test_a_mock_server_answers_many_at_once(mock: Served) -> None:
    """Callers share steps: streams and whole answers together, and the words are the mock's."""
    calls = [mock.ask({"prompt": f"caller {number}", "max_new_tokens": 100, "num_beams": 1}) for number in range(16)]
    events = mock.events({"prompt": "x", "max_new_tokens": 100})
    assert len(events) == 22  # 20 tokens, the end, DONE
    for call in calls:
        answer = call.response().json()
        assert answer["data"] == [TEXT.encode()[:20].decode()]
        assert answer["finish_reason"] == ["stop"]
    mock.waits_for(running=0, waiting=0)
