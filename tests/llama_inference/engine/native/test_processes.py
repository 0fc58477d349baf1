"""Two ranks in two processes, which exchange by gloo, give the tokens of one: the whole matrix, in one batch."""

from collections.abc import Iterator

import pytest

from llama_inference.backends.native import NativeBackend
from llama_inference.backends.parallel import open_ranks
from llama_inference.errors import InvalidRequestError
from tests.llama_inference.engine.native.bench import Bench, a_prompt, a_request
from tests.llama_inference.engine.native.test_truth import every_request
from tests.llama_inference.harness import settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def backend(tiny: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeBackend]:
    """The leader over the tiny Llama, and its follower in a process of its own."""
    folder = tmp_path_factory.mktemp("two")
    tiny.reference.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    lost: list[str] = []
    given = settings(backend="native", model_dir=folder, dtype="float32", tensor_parallel=2)
    opened = open_ranks(given, folder, on_lost=lost.append)
    assert isinstance(opened, NativeBackend)
    opened.warm_up()
    yield opened
    opened.close()
    assert lost == []


@pytest.fixture
def two(tiny: Bench, backend: NativeBackend) -> Bench:
    """A bench over both ranks."""
    return Bench(tiny.reference, tiny.model, tiny.tokenizer, backend.executor)


def test_two_processes_answer_every_request_as_generate_does(two: Bench) -> None:
    """Greedy and beams, each with every length, prompts read in pieces beside others that decode."""
    requests = every_request()
    assert two.tokens(requests, tokens=96) == [two.expected(request) for request in requests]


def test_two_processes_draw_the_tokens_that_one_draws(two: Bench, tiny: Bench) -> None:
    """The same seeds, with and without beams."""
    requests = [
        a_request(a_prompt(12, seed), new=40, seed=seed, do_sample=True, num_beams=beams, top_k=50, temperature=1.2)
        for seed in range(6)
        for beams in (1, 3)
    ]
    assert two.tokens(requests) == tiny.tokens(requests)


def test_jobs_that_give_way_are_computed_again_by_both(two: Bench) -> None:
    """Slabs come and go on both ranks alike."""
    requests = [a_request(a_prompt(9, salt), new=150, num_beams=1 + 3 * (salt % 2)) for salt in range(8)]
    assert two.tokens(requests, entries=1024, slab=64) == [two.expected(request) for request in requests]


def test_what_must_run_alone_is_refused_with_the_parameter(backend: NativeBackend) -> None:
    """No rank has the whole model that transformers' own way would need."""
    request = a_request(a_prompt(5), guidance_scale=2.0)
    assert backend.covers(request) is not None
    with pytest.raises(InvalidRequestError, match=r"guidance_scale .* transformers") as caught:
        backend.generate(request, control=None)  # pyright: ignore[reportArgumentType] - it is not looked at
    assert caught.value.param == "guidance_scale"
