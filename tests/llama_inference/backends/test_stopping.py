"""Stop strings' tables: made once, kept for a while, and never where others wait for them."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers.generation.stopping_criteria import StopStringCriteria

from llama_inference.backends import stopping
from llama_inference.backends.opening import open_backend
from llama_inference.backends.stopping import KEPT, StopTables
from llama_inference.errors import InvalidRequestError
from llama_inference.values import Generation
from tests.llama_inference.harness import PATIENCE_S, Served, serve, settings

pytestmark = pytest.mark.slow  # transformers is imported


class Making:
    """What is made, on which thread, and whether it may go on."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.fails_with: Exception | None = None

    def __call__(self) -> None:
        """Something is being made."""
        self.threads.append(threading.current_thread().name)
        self.begun.set()
        assert self.may_end.wait(3 * PATIENCE_S)
        if self.fails_with is not None:
            raise self.fails_with


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> Iterator[Making]:
    """Transformers' criteria, whose making is watched."""
    watch = Making()

    class Watched(StopStringCriteria):
        def __init__(self, **given: Any) -> None:
            watch()
            super().__init__(**given)

    monkeypatch.setattr(stopping, "StopStringCriteria", Watched)
    yield watch
    watch.may_end.set()


@pytest.fixture(scope="module", params=["native", "transformers"])
def real(request: pytest.FixtureRequest, tiny_dir: Path) -> Iterator[Served]:
    """A ready server over the tiny Llama."""
    opened = settings(backend=request.param, model_dir=tiny_dir, dtype="float32")
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics)) as served:
        yield served.ready()


def asks(*strings: str) -> Generation:
    """A request with these stop strings."""
    return Generation(prompts=((1,),), max_tokens=2, stop_strings=strings)


@pytest.fixture
def tables(making: Making) -> StopTables:
    """Of the tiny tokenizer."""
    from tests.support.tiny_llama import tokenizer  # noqa: PLC0415 - torch takes seconds

    del making
    return StopTables(tokenizer())


def test_the_same_strings_are_prepared_once(tables: StopTables, making: Making) -> None:
    """For any number of requests, until as many others have come; and a prepared one keeps its own."""
    first = tables.prepare(asks("END"))
    assert tables.prepare(asks("END")).stops is first.stops is not None
    assert len(making.threads) == 1
    for number in range(KEPT):
        tables.prepare(asks(str(number)))
    assert tables.of(first) is first.stops
    assert len(making.threads) == 1 + KEPT
    assert tables.prepare(asks("END")).stops is not first.stops


def test_without_stop_strings_nothing_is_made(tables: StopTables, making: Making) -> None:
    """Most requests have none."""
    assert tables.of(asks()) is None
    assert not making.threads


def test_what_transformers_refuses_is_the_requests_fault(tables: StopTables, making: Making) -> None:
    """It is told so, and nothing is kept."""
    making.fails_with = ValueError("no token has such text")
    with pytest.raises(InvalidRequestError, match="no token has such text"):
        tables.prepare(asks("END"))
    making.fails_with = None
    assert tables.prepare(asks("END")).stops is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"prompt": "x", "max_new_tokens": 20, "stop_strings": "predict", "num_beams": 1}),
        ("/v1/completions", {"model": "tiny", "prompt": "x", "max_tokens": 9, "stop": ["completion"]}),
    ],
)
def test_others_are_answered_while_stop_strings_are_prepared(
    real: Served, making: Making, path: str, body: dict[str, Any]
) -> None:
    """The engine has no part in it, and does not prepare them again."""
    making.may_end.clear()
    answers: list[int] = []
    asker = threading.Thread(target=lambda: answers.append(real.client.post(path, json=body).status_code))
    asker.start()
    assert making.begun.wait(PATIENCE_S)
    assert real.predict({"prompt": "x", "max_new_tokens": 9}).status_code == 200
    assert not answers
    making.may_end.set()
    asker.join(PATIENCE_S)
    assert answers == [200]
    assert len(making.threads) == 1
    assert "engine" not in making.threads
