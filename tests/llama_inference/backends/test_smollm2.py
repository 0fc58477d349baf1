"""A real model, SmolLM2-135M-Instruct, through the whole server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from llama_inference.backends.opening import open_backend
from tests.llama_inference.harness import LOADING_S, Served, serve, settings
from tests.support.models import SMOLLM2, models_dir

if TYPE_CHECKING:
    from tests.support.tiny_llama import Reference

pytestmark = pytest.mark.slow

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def smollm2() -> Iterator[Served]:
    """A ready server over SmolLM2 in float32."""
    opened = settings(backend="transformers", model_dir=models_dir() / SMOLLM2, dtype="float32")
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics)) as served:
        yield served.ready()


@pytest.fixture(scope="module")
def truth() -> "Reference":
    """Transformers itself on the same weights."""
    from tests.support.tiny_llama import Reference  # noqa: PLC0415 - torch takes seconds, which only slow tests pay

    return Reference(models_dir() / SMOLLM2)


def test_it_knows_the_capital_of_france(smollm2: Served) -> None:
    """With beams, in a chat, and in pieces: sensible English."""
    beams = smollm2.predict({"prompt": PROMPT, "max_new_tokens": 12}).json()
    assert beams["data"][0].startswith(" Paris")
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    chat = smollm2.predict({"messages": messages, "max_new_tokens": 60, "num_beams": 1}).json()
    assert "Paris" in chat["data"][0]


def test_openais_client_learns_the_capital_of_france(smollm2: Served) -> None:
    """In a chat, whole and in pieces."""
    from openai import OpenAI  # noqa: PLC0415 - a second, which only this test pays

    chat: Any = {
        "model": smollm2.server.serving.name,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 16,
        "temperature": 0,
    }
    with OpenAI(base_url=f"http://127.0.0.1:{smollm2.port}/v1", api_key="none", timeout=LOADING_S) as client:
        whole = client.chat.completions.create(**chat).choices[0]
        chunks = list(client.chat.completions.create(**chat, stream=True))
    assert "Paris" in str(whole.message.content)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.message.content
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason


def test_its_beams_equal_transformers_own(smollm2: Served, truth: "Reference") -> None:
    """All four of them."""
    request = {"num_beams": 4, "num_return_sequences": 4, "do_sample": False}
    expected = truth.tokens(PROMPT, max_length=24, **request)
    answer = smollm2.predict({"prompt": PROMPT, "max_new_tokens": 24, **request}).json()
    assert answer["data"] == [truth.text(tokens) for tokens in expected]
