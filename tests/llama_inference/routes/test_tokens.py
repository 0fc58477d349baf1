"""`/tokenize` and `/detokenize`, in vLLM's shapes, and `/health`."""

from typing import Any

import pytest

from tests.llama_inference.harness import Served

MESSAGES = [{"role": "user", "content": "hi"}]


def ask(served: Served, path: str, **body: Any) -> Any:
    """The answer's body."""
    return served.client.post(path, json=body).json()


def test_a_text_is_tokenized(served: Served) -> None:
    """With the context, so that a client can count what is left."""
    found = ask(served, "/tokenize", model="tiny", prompt="aé", add_special_tokens=None)
    assert found == {"count": 3, "max_model_len": 4096, "tokens": [97, 195, 169], "token_strs": None}
    assert ask(served, "/tokenize", prompt="ab", return_token_strs=True)["token_strs"] == ["a", "b"]
    assert ask(served, "/tokenize", prompt="")["tokens"] == []


def test_a_chat_is_tokenized_as_it_is_rendered(served: Served) -> None:
    """By the same rules as a chat that is answered."""
    found = ask(served, "/tokenize", messages=MESSAGES)
    assert bytes(found["tokens"]) == b"user: hi\n"
    asked = served.client.post("/v1/chat/completions", json={"model": "tiny", "messages": MESSAGES, "max_tokens": 1})
    assert asked.json()["usage"]["prompt_tokens"] == found["count"]


def test_token_ids_become_text_again(served: Served) -> None:
    """Whatever was tokenized."""
    ids = ask(served, "/tokenize", prompt="Grüße 🦙")["tokens"]
    assert ask(served, "/detokenize", model="tiny", tokens=ids) == {"prompt": "Grüße 🦙"}
    assert ask(served, "/detokenize", tokens=[]) == {"prompt": ""}


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/tokenize", {}, 400, "prompt"),
        ("/tokenize", {"prompt": "x", "messages": MESSAGES}, 400, "prompt"),
        ("/tokenize", {"prompt": ["x"]}, 400, "prompt"),
        ("/tokenize", {"prompt": "x", "colour": 1}, 400, "colour"),
        ("/tokenize", {"prompt": "x", "add_special_tokens": 1}, 400, "add_special_tokens"),
        ("/tokenize", {"prompt": "x", "model": "other"}, 404, "model"),
        ("/detokenize", {}, 400, "tokens"),
        ("/detokenize", {"tokens": [1, 300]}, 400, "tokens[1]"),
        ("/detokenize", {"tokens": [1], "temperature": 1}, 400, "temperature"),
    ],
)
def test_what_cannot_be_taken_is_named(
    served: Served, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    """In OpenAI's shape."""
    answer = served.client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


@pytest.mark.slow
def test_a_start_token_is_there_once(tiny: Served) -> None:
    """Also where a prompt has it already, as templates and people write it; and it can be left out, and read back."""
    start, text = [0], "[INST] Hi [/INST]"
    plain = ask(tiny, "/tokenize", prompt=text)["tokens"]
    assert plain[:1] == start
    assert ask(tiny, "/tokenize", prompt=f"<s>{text}")["tokens"] == plain
    assert ask(tiny, "/tokenize", prompt=text, add_special_tokens=False)["tokens"] == plain[1:]
    assert ask(tiny, "/tokenize", prompt=f"<s>{text}", add_special_tokens=False)["tokens"] == plain
    assert ask(tiny, "/detokenize", tokens=plain)["prompt"] == f"<s>{text}"
    given = {"model": "tiny", "max_tokens": 1}
    counts = [
        ask(tiny, "/v1/completions", prompt=prompt, **given)["usage"]["prompt_tokens"]
        for prompt in (text, f"<s>{text}")
    ]
    usage = tiny.predict({"prompt": f"<s>{text}", "max_new_tokens": 100, "num_beams": 1}).json()["usage"]
    assert [*counts, usage["prompt_tokens"]] == [len(plain)] * 3


@pytest.mark.slow
def test_a_chat_is_gone_on_with(tiny: Served) -> None:
    """Without the head of a new answer, and without an end of the old one."""
    turns = [*MESSAGES, {"role": "assistant", "content": "The quick"}]

    def prompt(**given: Any) -> str:
        return ask(tiny, "/detokenize", tokens=ask(tiny, "/tokenize", messages=turns, **given)["tokens"])["prompt"]

    assert prompt() == "<s><|user|>hi\n<|assistant|>The quick\n<|assistant|>"
    assert prompt(add_generation_prompt=False) == "<s><|user|>hi\n<|assistant|>The quick\n"
    assert prompt(continue_final_message=True) == "<s><|user|>hi\n<|assistant|>The quick"


@pytest.mark.slow
def test_a_template_that_fails_says_nothing_of_the_interpreter(tiny: Served) -> None:
    """What its author says is passed on; what jinja or Python says of it is not."""
    error = ask(tiny, "/tokenize", messages=[{"role": "tool", "content": "x"}])["error"]
    assert error["message"] == "the model's chat template refuses these messages: unknown role tool"
    backend: Any = tiny.server.serving.backend
    tokenizer = backend._tokens._tokenizer
    before = tokenizer.chat_template
    try:
        for broken in ("{{ messages + 1 }}", "{{ messages[0].nothing.more }}", "{% if %}"):
            tokenizer.chat_template = broken
            message = ask(tiny, "/tokenize", messages=MESSAGES)["error"]["message"]
            assert message == "the model's chat template refuses these messages"
    finally:
        tokenizer.chat_template = before


def test_health_is_what_readyz_is(served: Served) -> None:
    """By the name that other servers of models have for it."""
    health, ready = served.client.get("/health"), served.client.get("/readyz")
    assert (
        (health.status_code, health.json())
        == (ready.status_code, ready.json())
        == (200, {"ready": True, "phase": "serving"})
    )
