"""Text as callers get it, in the cases that other servers got wrong: each with the report that suggested it.

On a model like Llama 2, whose tokenizer writes rare characters in bytes, and on a byte-level one; by the native engine
and by transformers. What a model writes is forced, so that the right text is known.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llama_inference.backends.opening import open_backend
from tests.llama_inference.harness import Served, serve, settings

if TYPE_CHECKING:
    from tests.support.tiny_llama import Reference

pytestmark = pytest.mark.slow  # torch

CONTEXT = 5  # tokens that tell one place of an output from another
SURE = 1000.0
ENDS = {"llama 2": 2, "byte level": 1}


class Model:
    """A server over a model that writes what it is told to."""

    def __init__(self, served: Served, end: int, reference: "Reference") -> None:
        self.served = served
        self.reference = reference
        self.end = end
        assert served.server.serving.backend is not None
        self.backend = served.server.serving.backend

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """The tokens of a text; without `special` those that it has within another one."""
        if special:
            return self.backend.encode(text, special=True)
        front = self.backend.encode("a", special=False)
        return self.backend.encode("a" + text, special=False)[len(front) :]

    def forcing(self, prompt: Sequence[int], output: Sequence[int]) -> list[list[Any]]:
        """A `sequence_bias` under which the model writes just these tokens after this prompt, and ends."""
        line = [*prompt, *output, self.end]
        return [[line[max(0, at - CONTEXT) : at + 1], SURE] for at in range(len(prompt), len(line))]

    def predict(self, prompt: str | list[dict[str, str]], output: Sequence[int], **asked: Any) -> dict[str, Any]:
        """The answer to `/predict`."""
        return self.served.predict(self._predict(prompt, output, asked)).json()

    def _predict(self, prompt: Any, output: Sequence[int], asked: dict[str, Any]) -> dict[str, Any]:
        chat = isinstance(prompt, list)
        ids = self.backend.encode(self.backend.render(prompt) if chat else prompt, special=not chat)
        bias = self.forcing(ids, output)
        return {
            "messages" if chat else "prompt": prompt, "sequence_bias": bias, "max_new_tokens": len(ids) + 40,
            "do_sample": False, "num_beams": 1, **asked,
        }  # fmt: skip

    def streamed(self, prompt: Any, output: Sequence[int], **asked: Any) -> list[str]:
        """The pieces of a stream of `/predict`."""
        events = self.served.events(self._predict(prompt, output, asked))
        return [json.loads(event[6:]).get("text", "") for event in events[:-1]]

    def complete(self, prompt: str | list[int], output: Sequence[int], **asked: Any) -> dict[str, Any]:
        """The answer to `/v1/completions`."""
        ids = self.ids(prompt, special=True) if isinstance(prompt, str) else prompt
        return self.openai("completions", {"prompt": prompt, "sequence_bias": self.forcing(ids, output), **asked})

    def openai(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request of OpenAI's; of a stream its chunks put together."""
        body = {"model": "tiny", "max_tokens": 40, "temperature": 0, **asked}
        answer = self.served.client.post(f"/v1/{path}", json=body)
        assert answer.status_code == 200, answer.text
        if not body.get("stream"):
            return answer.json()
        chunks = [json.loads(event[6:]) for event in answer.text.removesuffix("\n\n").split("\n\n")[:-1]]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        pieces = [choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices]
        return {"choices": [{"text": "".join(pieces), "finish_reason": choices[-1]["finish_reason"]}], "pieces": pieces}


@pytest.fixture(
    scope="module", params=[("llama 2", "native"), ("llama 2", "transformers"), ("byte level", "native")], ids="-".join
)
def model(request: pytest.FixtureRequest, llama_2_dir: Path, tiny_dir: Path) -> Iterator[Model]:
    """A ready server over each model and engine."""
    from tests.support.tiny_llama import Reference  # noqa: PLC0415 - torch takes seconds, which only slow tests pay

    kind, backend = request.param
    folder = llama_2_dir if kind == "llama 2" else tiny_dir
    opened = settings(backend=backend, model_dir=folder, dtype="float32")
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics)) as served:
        yield Model(served.ready(), ENDS[kind], Reference(folder))


SPLITS = [
    ("你好你", "好。"),
    ("a你好你好", "世界 end"),
    ("こんにちは世", "界です."),
    ("ສະບາຍ", "ດີ 🦙"),
    ("One two", " three, four"),
    ("two ", "spaces  and\n\n\tlines"),
]


@pytest.mark.parametrize(("prompt", "output"), SPLITS)
def test_an_output_begins_at_a_characters_first_byte(model: Model, prompt: str, output: str) -> None:
    """ai-dynamo/dynamo#12688: after a prompt in a script that is written in bytes, the output was U+FFFD alone.

    Whole, in pieces, by beams and with the prompt in front, on every route.
    """
    ids = model.ids(output)
    answer = model.predict(prompt, ids)
    assert answer["data"] == [output]
    assert answer["usage"]["completion_tokens"] == len(ids) + 1
    assert "".join(model.streamed(prompt, ids)) == output
    assert model.predict(prompt, ids, num_beams=3, return_full_text=True)["data"] == [prompt + output]
    assert model.complete(prompt, ids)["choices"][0]["text"] == output
    assert model.complete(prompt, ids, echo=True, stream=True)["choices"][0]["text"] == prompt + output
    chat = [{"role": "user", "content": prompt}]
    assert model.predict(chat, ids)["data"] == [output]
    assert "".join(model.streamed(chat, ids)) == output


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_of_ids_may_end_within_a_character(model: Model, *, stream: bool) -> None:
    """vllm-project/vllm#48853: the character was U+FFFD in front, and what completed it, or followed, was lost."""
    *prompt, last = model.ids("x你", special=True)
    for output, text in (([last, *model.ids("好!")], "x你好!"), ([last], "x你"), (model.ids("!"), "x�!")):
        full = model.complete(prompt, output, echo=True, stream=stream)["choices"][0]["text"]
        assert full == text
        assert model.complete(prompt, output, stream=stream)["choices"][0]["text"] == text[1:]


def test_bytes_that_become_no_character_are_shown_as_they_come(model: Model) -> None:
    """sgl-project/sglang#34852: nothing was sent for them until the very end."""
    broken = next(token for token in range(300) if model.backend.vocabulary.literal(token) == b"\x80")
    asked = {"prompt": "x", "logit_bias": {str(broken): 100}, "max_tokens": 20, "stream": True}
    found = model.openai("completions", asked)
    assert found["choices"][0] == {"text": "�" * 20, "finish_reason": "length"}
    assert [piece for piece in found["pieces"] if piece] == ["�"] * 20


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_that_only_the_text_shows_ends_the_work(model: Model, *, stream: bool) -> None:
    """mzau/mlx-knife#68: the text was cut, but the tokens after it were computed and counted all the same."""
    start = model.ids("", special=True)[0]
    output = [*model.ids("Xa"), start, *model.ids("bxyz")]
    found = model.complete("x", output, stop="ab", stream=stream)
    assert (found["choices"][0]["text"], found["choices"][0]["finish_reason"]) == ("X", "stop")
    needed = len(model.ids("Xa")) + 1 + len(model.ids("b"))
    if not stream:
        assert found["usage"]["completion_tokens"] == needed
    answer = model.predict("x", output, stop_strings=["ab"])
    assert (answer["data"], answer["finish_reason"]) == (["Xab"], ["stop"])
    assert answer["usage"]["completion_tokens"] == needed
    beams = model.predict("x", output, stop_strings=["ab"], num_beams=3)
    assert (beams["data"], beams["usage"]) == (answer["data"], answer["usage"])


def test_a_replacement_character_is_a_stop_string_as_any_other(model: Model) -> None:
    """As soon as it is certain that bytes become no character, the work ends."""
    lead, *_ = model.ids("你")
    output = [*model.ids("ab"), lead, *model.ids("cdef")]
    found = model.complete("x", output, stop="�")
    assert (found["choices"][0]["text"], found["choices"][0]["finish_reason"]) == ("ab", "stop")
    assert found["usage"]["completion_tokens"] == len(model.ids("ab")) + 1 + 1


def test_a_stop_string_is_the_same_in_pieces_and_whole(model: Model) -> None:
    """What a special token is written as, a space and a character of several bytes: the text ends in front of it."""
    start = model.ids("", special=True)[0]
    special = [*model.ids("one"), start, *model.ids("x")]
    cases = [
        ("好", model.ids("a你好b"), "a你"), (" two", model.ids("one two three"), "one"), ("<s>", special, "one"),
    ]  # fmt: skip
    for stop, output, text in cases:
        for stream in (False, True):
            (choice,) = model.complete("Count:", output, stop=[stop], stream=stream)["choices"]
            assert (choice["text"], choice["finish_reason"]) == (text, "stop")


@pytest.mark.parametrize("search", [{"num_beams": 1}, {"num_beams": 4}, {"num_beams": 4, "stop_strings": ["e", "的"]}])
def test_what_is_written_is_what_transformers_writes(model: Model, search: dict[str, Any]) -> None:
    """Nothing forced: as many tokens, and where they are characters the same text."""
    prompt, asked = "The capital of", {"do_sample": False, **search}
    (tokens,) = model.reference.tokens(prompt, max_length=60, **asked)
    answer = model.served.predict({"prompt": prompt, "max_new_tokens": 60, **asked}).json()
    assert answer["usage"]["completion_tokens"] == len(tokens)
    front = model.ids(prompt, special=True)
    whole = model.reference.text([*front, *tokens])
    assert "�" in whole or prompt + answer["data"][0] == whole


def test_a_model_that_draws_by_default_draws(model: Model) -> None:
    """Llama 2's own configuration says so, with a temperature: a seed repeats the text, in pieces as well."""
    draws = model.end == ENDS["llama 2"]
    asked = {"prompt": "One", "max_new_tokens": 40, "num_beams": 1, "temperature": 5.0, "top_k": 0, "top_p": 1.0}
    texts = [model.served.predict({**asked, "seed": seed}).json()["data"][0] for seed in (1, 2, 1)]
    assert texts[0] == texts[2]
    assert (texts[0] != texts[1]) is draws
    pieces = [json.loads(event[6:]).get("text", "") for event in model.served.events({**asked, "seed": 1})[:-1]]
    assert "".join(pieces) == texts[0]
