"""What the table of abilities says of backends that compute here is so: every parameter is honoured by a real model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from llama_inference.backends.abilities import EVERYTHING
from llama_inference.backends.opening import open_backend
from llama_inference.protocol.parameters import HELD_TO
from tests.llama_inference.backends.test_abilities import ASKED
from tests.llama_inference.harness import Served, serve, settings

pytestmark = pytest.mark.slow

PROMPT: Final = "A llama grazes on the"
BESIDE: Final[dict[str, dict[str, Any]]] = {  # what a parameter needs to be asked for at all
    "num_return_sequences": {"do_sample": True, "temperature": 1.0},
    "num_beams": {"do_sample": False},
    "stream": {"num_beams": 1},
    "top_logprobs": {"return_logprobs": True},
}
PENALTIES: Final = ({"presence_penalty": 1.5}, {"frequency_penalty": 0.7}, {"frequency_penalty": -1.0})


@pytest.fixture(scope="module")
def native(tiny_dir: Path) -> Iterator[Served]:
    """A ready server over the same weights as `tiny`, by the native engine."""
    opened = settings(backend="native", model_dir=tiny_dir, dtype="float32")
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics), model="tiny") as served:
        yield served.ready()


@pytest.mark.parametrize("backend", EVERYTHING)
def test_every_parameter_is_honoured_where_the_table_says_so(
    backend: str, tiny: Served, native: Served, served: Served
) -> None:
    """Not refused by an engine after its turn; OpenAI's two on its routes, all others on predict."""
    asked = {"transformers": tiny, "native": native, "mock": served}[backend]
    plain = {"prompt": PROMPT, "max_new_tokens": 24, "num_beams": 1, "do_sample": False}
    refused: dict[str, str] = {}
    for name, value in ASKED.items():
        if name in HELD_TO:  # what an output is held to has tests and a row of its own
            continue
        if name in ("presence_penalty", "frequency_penalty"):
            body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 4, "temperature": 0, name: value}
            answer = asked.client.post("/v1/completions", json=body)
        else:
            answer = asked.predict({**plain, **BESIDE.get(name, {}), name: value})
        if answer.status_code != 200:
            refused[name] = answer.text
    assert not refused


@pytest.mark.parametrize("given", PENALTIES)
def test_openais_penalties_cost_the_same_with_transformers(tiny: Served, native: Served, given: dict[str, Any]) -> None:
    """Which does not have them; beams included."""
    body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 24, "temperature": 0}
    for more in ({}, {"num_beams": 3, "do_sample": False}):
        asked = [(tiny, given), (native, given), (tiny, {})]
        answers = [each.client.post("/v1/completions", json={**body, **more, **extra}) for each, extra in asked]
        texts = [answer.json()["choices"][0]["text"] for answer in answers]
        assert texts[0] == texts[1]
        assert texts[0] != texts[2]


def test_end_tokens_can_be_ignored_and_added(tiny: Served, native: Served) -> None:
    """By vLLM's names, on each backend that computes here."""
    body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 12, "temperature": 0}

    def ask(served: Served, **given: Any) -> tuple[int, str]:
        answer = served.client.post("/v1/completions", json={**body, **given}).json()
        return answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]

    always = {"logit_bias": {"1": 100}}  # the model's own end token
    for served in (tiny, native):
        assert ask(served, **always) == (1, "stop")
        assert ask(served, **always, ignore_eos=True) == (12, "length")
        other = {"logit_bias": {"42": 100}}
        assert ask(served, **other) == (12, "length")
        assert ask(served, **other, stop_token_ids=[42]) == (1, "stop")
        assert ask(served, **other, stop_token_ids=[42], ignore_eos=True) == (1, "stop")


def test_a_stop_string_ends_the_output_before_its_least_tokens(tiny: Served, native: Served) -> None:
    """As transformers does: `min_tokens` holds end tokens back alone."""
    body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 30, "temperature": 0, "min_tokens": 20}
    for served in (tiny, native):
        text = served.client.post("/v1/completions", json=body).json()["choices"][0]["text"]
        cut = served.client.post("/v1/completions", json={**body, "stop": text[2:4]}).json()
        assert cut["choices"][0]["finish_reason"] == "stop"
        assert cut["usage"]["completion_tokens"] < 20
