"""The native backend behind the whole server: the same answers as transformers' own, for many callers at once."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llama_inference.backends.native import BatchBudgets, NativeBackend
from llama_inference.backends.opening import open_backend
from tests.llama_inference.harness import Served, errors, serve, settings

if TYPE_CHECKING:
    from tests.support.tiny_llama import Reference

pytestmark = pytest.mark.slow

PROMPTS = ("The capital of France", "Grüße aus", "A llama grazes on the Altiplano; it is", "fox")
SHAPES: tuple[dict[str, Any], ...] = (
    {"num_beams": 1},
    {"num_beams": 4},
    {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0},
    {"num_beams": 1, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"num_beams": 1, "stop_strings": ["e", "zz"]},
    {"num_beams": 1, "prompt_lookup_num_tokens": 3},  # not covered: it runs alone
)


@pytest.fixture(scope="module")
def native(tiny_dir: Path) -> Iterator[Served]:
    """A ready server over the tiny Llama, in a batch of few rows and entries, so that it must manage them."""
    opened = settings(
        backend="native",
        model_dir=tiny_dir,
        dtype="float32",
        max_concurrent_sequences=16,
        step_tokens=40,
        kv_cache_tokens=2048,
    )
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics), model="tiny") as served:
        yield served.ready()


def test_info_tells_whether_a_seed_repeats_whatever_else_is_computed(native: Served, tiny_dir: Path) -> None:
    """Not unless it is asked for; and where one request at a time is computed, by itself."""
    assert native.client.get("/info").json()["batch_invariant"] is False
    for backend in ("native", "transformers"):
        asked = settings(backend=backend, model_dir=tiny_dir, batch_invariant=backend == "native")
        with serve(lambda progress, metrics, asked=asked: open_backend(asked, progress, metrics)) as served:
            assert served.ready().client.get("/info").json()["batch_invariant"] is True


def wanted(reference: "Reference", prompt: str, shape: dict[str, Any]) -> list[str]:
    """Transformers' own texts."""
    tokens = reference.tokens(prompt, max_length=80, do_sample=False, **shape)
    return [reference.text(each) for each in tokens]


def test_callers_at_once_get_what_transformers_answers_alone(native: Served, reference: "Reference") -> None:
    """Every shape for every prompt, all at the same time, those that run alone among them."""
    requests = [(prompt, shape) for prompt in PROMPTS for shape in SHAPES]

    def ask(request: tuple[str, dict[str, Any]]) -> list[str]:
        prompt, shape = request
        answer = native.predict({"prompt": prompt, "max_new_tokens": 80, "do_sample": False, **shape}).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(ask, requests))
    assert answers == [wanted(reference, prompt, shape) for prompt, shape in requests]
    native.waits_for(running=0, waiting=0)


def test_a_stream_joined_is_the_answer(native: Served) -> None:
    """Byte for byte, drawn by a seed, while others are computed."""
    request = {"prompt": PROMPTS[1], "max_new_tokens": 120, "num_beams": 1, "do_sample": True, "seed": 3, "top_p": 1.0}
    others = [native.ask({**request, "seed": seed, "num_return_sequences": 2}) for seed in range(4)]
    events = [json.loads(event[6:]) for event in native.events(request)[:-1]]
    joined = "".join(event["text"] for event in events if "text" in event)
    assert joined == native.predict(request).json()["data"][0]
    assert events[-1]["usage"]["completion_tokens"] == sum(len(event.get("token_ids", ())) for event in events)
    for other in others:
        assert other.response().status_code == 200


def test_a_caller_that_hangs_up_leaves_nothing(native: Served) -> None:
    """Its job ends within a step, and others are answered."""
    before = native.hung_up
    with native.connection({"prompt": PROMPTS[0], "max_new_tokens": 250, "num_beams": 16}):
        native.waits_for(running=1, waiting=0)
    native.hang_up_is_noticed(before)
    native.waits_for(running=0, waiting=0)
    assert native.predict({"prompt": "fox", "max_new_tokens": 9}).status_code == 200


def test_a_request_larger_than_the_batch_is_answered_all_the_same(native: Served, reference: "Reference") -> None:
    """Sixteen long beams may need more entries than there are: it runs alone."""
    shape = {"num_beams": 16}
    answer = native.predict({"prompt": PROMPTS[0], "max_new_tokens": 250, "do_sample": False, **shape}).json()
    tokens = reference.tokens(PROMPTS[0], max_length=250, do_sample=False, **shape)
    assert answer["data"] == [reference.text(each) for each in tokens]


@pytest.fixture(scope="module")
def ranked(tiny_dir: Path) -> Iterator[Served]:
    """A ready server whose engine is said to be one of ranks, of which none could run `generate`."""
    import torch  # noqa: PLC0415 - it takes seconds, which only slow tests pay
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    from llama_inference.engine.native.engine import Engine  # noqa: PLC0415
    from llama_inference.engine.weights import Loaded  # noqa: PLC0415
    from tests.support import tiny_llama  # noqa: PLC0415

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_dir, dtype=torch.float32).eval()

    class Ranks:
        engine = Engine.of(model, max_context=tiny_llama.CONTEXT)
        free = 1 << 30

        def close(self) -> None:
            """There are no others."""

    loaded = Loaded(model, tiny_llama.tokenizer(), "float32", "cpu")
    backend = NativeBackend(loaded, max_context=None, budgets=BatchBudgets(rows=8, entries=512), ranks=Ranks())
    with serve(lambda _progress, _metrics: backend) as served:
        yield served.ready()


@pytest.mark.parametrize(
    ("asked", "code", "param", "words"),
    [
        ({"prompt_lookup_num_tokens": 3}, "unsupported_parameter", "prompt_lookup_num_tokens", "leave it out, or ask"),
        ({"guidance_scale": 1.5}, "unsupported_parameter", "guidance_scale", "spec.engine.name: transformers"),
        ({"num_beams": 16}, "too_large_for_batch", None, "the 8 rows or the 512 tokens"),
        ({"num_beams": 8, "max_new_tokens": 250}, "too_large_for_batch", None, "lower num_beams or max_new_tokens"),
    ],
)
def test_several_ranks_refuse_what_must_run_alone(
    ranked: Served, asked: dict[str, Any], code: str, param: str | None, words: str
) -> None:
    """With what is possible; none of them has the whole model, to run `generate` with. Others are answered."""
    request = {"prompt": "x", "max_new_tokens": 9, "num_beams": 1}
    found = errors(ranked.predict({**request, **asked}))
    assert found[:3] == (400, code, param)
    assert words in found[3]
    assert ranked.predict({**request, "guidance_scale": 1}).status_code == 200
