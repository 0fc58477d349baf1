"""The queue as callers meet it over HTTP: full, too late, given up."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from llama_inference.backends.mock import TEXT
from llama_inference.backends.mock_batch import BatchingMock, Pace
from llama_inference.errors import InvalidRequestError
from llama_inference.values import Generation
from tests.llama_inference.harness import PacedBackend, Served, errors, eventually, serve

Paced = tuple[Served, PacedBackend]
LONG = {"prompt": "x", "max_new_tokens": 1000}
SHORT = {"prompt": "x", "max_new_tokens": 4}


@pytest.fixture(scope="module")
def pacing() -> Iterator[Served]:
    """A ready server over the mock that a server runs, of a hundred tokens a second: it knows about time."""
    backend = BatchingMock(Pace(token_s=0.01), rows=1)
    with serve(lambda _progress, _metrics: backend) as served:
        yield served.ready()


def test_a_full_queue_answers_429_with_retry_after(paced: Paced) -> None:
    """One runs, one waits, the third is sent away; when there is room again it is answered."""
    served, backend = paced
    first = served.ask(SHORT)
    served.waits_for(running=1, waiting=0)
    second = served.ask(SHORT)
    served.waits_for(running=1, waiting=1)
    refused = served.predict(SHORT)
    assert errors(refused)[:2] == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    backend.gate.open()
    assert [call.response().status_code for call in (first, second)] == [200, 200]
    assert served.predict(SHORT).status_code == 200


def test_a_deadline_in_the_queue_answers_504(paced: Paced) -> None:
    """Without having run; whoever runs is not disturbed."""
    served, backend = paced
    first = served.ask(SHORT)
    served.waits_for(running=1, waiting=0)
    status, code, param, _ = errors(served.predict(SHORT, x_request_timeout="0.05"))
    assert (status, code, param) == (504, "deadline_exceeded", "X-Request-Timeout")
    backend.gate.open()
    assert first.response().json()["data"] == [TEXT[:3]]
    assert backend.begun == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_before_the_first_token_answers_504(paced: Paced, *, stream: bool) -> None:
    """Also for a stream: its status is not sent before there is something to send."""
    served, backend = paced
    answer = served.predict({**LONG, "stream": stream}, x_request_timeout="0.05")
    assert errors(answer)[:2] == (504, "deadline_exceeded")
    backend.gate.let(1)
    served.waits_for(running=0, waiting=0)


def test_max_time_and_the_deadline_are_two_things(pacing: Served) -> None:
    """The one ends with what is there, within the deadline; the other with no answer, however much time is left."""
    late = pacing.predict({**LONG, "num_beams": 1, "max_time": 0.05}, x_request_timeout="60").json()
    assert late["finish_reason"] == ["time"]
    assert late["data"][0] == TEXT[: len(late["data"][0])]
    assert 0 < late["usage"]["completion_tokens"] < 999
    answer = pacing.predict({**LONG, "num_beams": 1, "max_time": 60}, x_request_timeout="0.05")
    assert errors(answer)[:2] == (504, "deadline_exceeded")


@pytest.mark.slow  # the deadline is long enough for three steps on the busiest machine, and waited for
def test_a_deadline_within_a_stream_is_its_last_event(paced: Paced) -> None:
    """The status has been sent, so the error is an event, and nothing follows it."""
    served, backend = paced
    backend.gate.let(3)
    answer = served.predict({**LONG, "stream": True}, x_request_timeout="2")
    assert answer.status_code == 200
    *steps, last = answer.text.removesuffix("\n\n").split("\n\n")
    assert "".join(json.loads(step[6:])["text"] for step in steps) == TEXT[:3]
    name, data = last.split("\n")
    assert name == "event: error"
    body = json.loads(data.removeprefix("data: "))
    assert (body["status"], body["error"]["code"]) == ("error", "deadline_exceeded")


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_hangs_up_while_it_runs_frees_its_slot_within_a_step(paced: Paced, *, stream: bool) -> None:
    """The step under way is the last one."""
    served, backend = paced
    before = served.hung_up
    with served.connection({**LONG, "stream": stream}):
        backend.gate.let(2)
        eventually(lambda: backend.gate.passed == 2)
        served.waits_for(running=1, waiting=0)
    served.hang_up_is_noticed(before)
    backend.gate.let(1)
    served.waits_for(running=0, waiting=0)
    assert backend.gate.passed == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_hangs_up_in_the_queue_frees_its_place(paced: Paced, *, stream: bool) -> None:
    """At once, and it never runs."""
    served, backend = paced
    first = served.ask(SHORT)
    served.waits_for(running=1, waiting=0)
    with served.connection({**LONG, "stream": stream}):
        served.waits_for(running=1, waiting=1)
    served.waits_for(running=1, waiting=0)
    backend.gate.open()
    assert first.response().status_code == 200
    assert backend.begun == 1


def test_a_caller_that_hangs_up_within_a_stream_is_let_go(paced: Paced) -> None:
    """After events have been read."""
    served, backend = paced
    backend.gate.let(1)
    before = served.hung_up
    with served.connection({**LONG, "stream": True}) as connection:
        received = b""
        while b'"text"' not in received:
            received += connection.recv(4096)
    served.hang_up_is_noticed(before)
    backend.gate.let(1)
    served.waits_for(running=0, waiting=0)
    assert backend.gate.passed == 2


def test_a_request_that_fails_in_the_engine_harms_no_other(paced: Paced) -> None:
    """It gets its status; the one behind it gets its answer."""
    served, backend = paced
    backend.gate.open()
    backend.fails_with = InvalidRequestError("transformers refuses it", param="top_h")
    assert errors(served.predict(SHORT))[:3] == (400, "invalid_parameter", "top_h")
    backend.fails_with = RuntimeError("a bug, with details")
    status, code, _, message = errors(served.predict(SHORT))
    assert (status, code) == (500, "internal_error")
    assert "details" not in message
    assert served.predict(SHORT).status_code == 200


class Compiling(BatchingMock):
    """A mock that compiles what it is asked to hold to until it is let on, and knows `known`."""

    def __init__(self) -> None:
        super().__init__(Pace(), rows=1)
        self.info = replace(self.info, backend="native")  # the mock is asked for no structures
        self.begun = 0
        self.go_on = threading.Event()

    def prepared(self, generation: Generation) -> bool:
        """Whether it is known."""
        return generation.structure is not None and generation.structure.text == "known"

    def prepare(self, generation: Generation) -> Generation:
        """Compile."""
        if not self.prepared(generation):
            self.begun += 1
            assert self.go_on.wait(30)
        return replace(generation, structure=None)


@pytest.fixture
def compiling() -> Iterator[tuple[Served, Compiling]]:
    """A server that compiles for one request already, with one place in its queue."""
    backend = Compiling()
    with serve(lambda _progress, _metrics: backend, max_queue=1) as served:
        first = served.ready().ask({**SHORT, "guided_regex": "first"})
        eventually(lambda: backend.begun == 1)
        try:
            yield served, backend
        finally:
            backend.go_on.set()
        assert first.response().status_code == 200
        assert served.predict({**SHORT, "guided_regex": "another"}).status_code == 200


def asking(served: Served, number: int) -> None:
    """Wait until that many requests compile or wait for it."""
    eventually(lambda: served.server.serving.preparing.asking == number)


def test_what_has_been_compiled_waits_for_no_compilation(compiling: tuple[Served, Compiling]) -> None:
    """It is answered while another compiles."""
    served, _ = compiling
    assert served.predict({**SHORT, "guided_regex": "known"}).status_code == 200


def test_as_many_wait_for_a_compilation_as_may_queue(compiling: tuple[Served, Compiling]) -> None:
    """One more is a 429, as of a full queue."""
    served, backend = compiling
    waits = served.ask({**SHORT, "guided_regex": "second"})
    asking(served, 2)
    assert errors(served.predict({**SHORT, "guided_regex": "third"}))[:2] == (429, "queue_full")
    backend.go_on.set()
    assert waits.response().status_code == 200


def test_a_deadline_passes_while_another_compiles(compiling: tuple[Served, Compiling]) -> None:
    """It is a 504, and nothing is compiled for it."""
    served, backend = compiling
    late = served.predict({**SHORT, "guided_regex": "second"}, x_request_timeout="0.05")
    assert errors(late)[:2] == (504, "deadline_exceeded")
    asking(served, 1)
    assert backend.begun == 1


def test_a_caller_that_hangs_up_while_another_compiles_is_let_go(compiling: tuple[Served, Compiling]) -> None:
    """Its place is free at once, and nothing is compiled for it."""
    served, backend = compiling
    with served.connection({**SHORT, "guided_regex": "second"}):
        asking(served, 2)
    asking(served, 1)
    assert backend.begun == 1


def test_what_can_never_run_is_refused_before_it_waits(paced: tuple[Served, PacedBackend]) -> None:
    """Though the queue is full: its caller need not come again."""
    served, backend = paced

    def check(generation: Generation) -> None:
        if "guidance_scale" in generation.parameters:
            raise InvalidRequestError("not here", code="unsupported_parameter", param="guidance_scale")

    backend.check = check  # pyright: ignore[reportAttributeAccessIssue]
    first, second = served.ask({"prompt": "x", "max_new_tokens": 4}), served.ask({"prompt": "x", "max_new_tokens": 4})
    served.waits_for(running=1, waiting=1)
    assert errors(served.predict({"prompt": "x", "guidance_scale": 2}))[:2] == (400, "unsupported_parameter")
    assert errors(served.predict({"prompt": "x"}))[0] == 429
    backend.gate.open()
    assert {first.response().status_code, second.response().status_code} == {200}
    assert backend.begun == 2
    del backend.check  # pyright: ignore[reportAttributeAccessIssue]
