"""OpenAI's own client against the server as a process, with a tiny real model in it."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionMessageParam

from llama_inference.errors import UnavailableError
from tests.llama_inference.harness import LOADING_S, PacedBackend, Served, eventually
from tests.llama_inference.process import MODULE, Process

if TYPE_CHECKING:
    from tests.support.tiny_llama import Reference

pytestmark = pytest.mark.slow

KEY: Final = "key-of-the-application"
CHAT: Final[list[ChatCompletionMessageParam]] = [{"role": "user", "content": "The quick brown fox"}]
PROMPT: Final = "A llama grazes on the"
GREEDY: Final[Any] = {"model": "tiny", "temperature": 0}


@pytest.fixture(scope="module")
def process(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A ready server over the tiny Llama, by the native engine, that asks for a key."""
    keys = tmp_path_factory.mktemp("keys")
    (keys / "application").write_text(KEY)
    variables = {"MODEL_DIR": str(tiny_dir), "SERVED_NAME": "tiny", "DTYPE": "float32", "API_KEYS_DIR": str(keys)}
    with Process(*MODULE, **{f"LLAMA_INFERENCE_{name}": value for name, value in variables.items()}) as process:
        yield process.ready(3 * LOADING_S)


@pytest.fixture(scope="module")
def client(process: Process) -> Iterator[openai.OpenAI]:
    """The client, as an application makes it."""
    with openai.OpenAI(base_url=f"{process.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def predict(process: Process, **body: Any) -> Any:
    """What /predict says to the same."""
    answer = process.client.post("/predict", json=body, headers={"authorization": f"Api-Key {KEY}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def running(process: Process) -> float:
    """Requests in the engine."""
    lines = process.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("llama_inference_num_requests_running"))


def test_a_chat_is_answered_as_predict_answers_it(client: openai.OpenAI, process: Process) -> None:
    """The same text, in OpenAI's shape; max_tokens bounds the output alone."""
    answer = client.chat.completions.create(messages=CHAT, max_tokens=12, **GREEDY)
    same = predict(process, messages=CHAT, num_beams=1, do_sample=False, max_new_tokens=200)
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert same["data"][0].startswith(choice.message.content)
    assert (choice.finish_reason, choice.index) == ("length", 0)
    assert (answer.object, answer.model) == ("chat.completion", "tiny")
    assert answer.id == f"chatcmpl-{answer._request_id}"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == same["usage"]["prompt_tokens"]
    assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (12, 12 + answer.usage.prompt_tokens)


def test_a_stream_of_chunks_joins_to_the_same_text(client: openai.OpenAI) -> None:
    """Role first, then text in several pieces, then the reason; usage in a last chunk, where it was asked for."""
    whole = client.chat.completions.create(messages=CHAT, max_tokens=12, **GREEDY)
    stream = client.chat.completions.create(
        messages=CHAT, max_tokens=12, stream=True, stream_options={"include_usage": True}, **GREEDY
    )
    first, *middle, last, counted = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert len(middle) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in middle) == whole.choices[0].message.content
    assert {chunk.choices[0].finish_reason for chunk in (first, *middle)} == {None}
    assert last.choices[0].finish_reason == "length"
    assert (counted.choices, counted.usage) == ([], whole.usage)
    assert len({chunk.id for chunk in (first, *middle, last, counted)}) == 1


def test_a_batch_of_prompts_is_completed(client: openai.OpenAI, process: Process) -> None:
    """Each with as many tokens as are asked for, however long it is; as text, and as token ids without a start."""
    long = PROMPT * 3
    answer = client.completions.create(prompt=[PROMPT, long], max_tokens=5, **GREEDY)
    alone = [client.completions.create(prompt=each, max_tokens=5, **GREEDY) for each in (PROMPT, long)]
    assert [choice.text for choice in answer.choices] == [one.choices[0].text for one in alone]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 10
    by_ids = client.completions.create(prompt=[[5, 6, 7], [8, 9]], max_tokens=3, **GREEDY)
    assert by_ids.usage is not None
    assert (by_ids.usage.prompt_tokens, by_ids.usage.completion_tokens) == (5, 6)


def test_echo_puts_the_prompt_in_front(client: openai.OpenAI) -> None:
    """In a stream as well."""
    plain = client.completions.create(prompt=PROMPT, max_tokens=5, **GREEDY).choices[0].text
    assert client.completions.create(prompt=PROMPT, max_tokens=5, echo=True, **GREEDY).choices[0].text == PROMPT + plain
    stream = client.completions.create(prompt=PROMPT, max_tokens=5, echo=True, stream=True, **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in stream) == PROMPT + plain


def test_a_prompt_is_scored_as_evaluation_harnesses_ask(client: openai.OpenAI, reference: "Reference") -> None:
    """Echo and logprobs with one token more: what lm-evaluation-harness sends, and how it reads the answer."""
    ids: list[int] = reference.tokenizer(PROMPT)["input_ids"]
    wanted = reference.likely(ids)
    for most in (0, 1):
        answer = client.completions.create(prompt=ids, max_tokens=most, logprobs=1, echo=True, **GREEDY)
        told = answer.choices[0].logprobs
        assert told is not None
        assert told.token_logprobs is not None
        assert told.top_logprobs is not None
        read = told.token_logprobs[: len(ids)]
        assert len(told.token_logprobs) == len(ids) + most
        assert read == [None, *(pytest.approx(each, abs=1e-4) for each in wanted)]
        assert all(own in best.values() for own, best in zip(read[1:], told.top_logprobs[1:], strict=False))


def test_a_chats_tokens_are_told_whole_and_streamed(client: openai.OpenAI) -> None:
    """With their alternatives; a greedy token is the likeliest of them, and their texts are the answer."""
    asked: Any = {"messages": CHAT, "max_tokens": 12, "logprobs": True, "top_logprobs": 3, **GREEDY}
    (choice,) = client.chat.completions.create(**asked).choices
    assert choice.logprobs is not None
    content = choice.logprobs.content or []
    joined = bytes(byte for each in content for byte in each.bytes or [])
    assert joined.decode(errors="replace") == choice.message.content
    assert all(each.token == each.top_logprobs[0].token and len(each.top_logprobs) == 3 for each in content)
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(stream=True, **asked)]
    assert [each for chunk in chunks if chunk.logprobs for each in chunk.logprobs.content or []] == content


class Llama(pydantic.BaseModel):
    """What an answer is parsed into."""

    name: Literal["Lama glama", "Lama guanicoe"]
    age: int = pydantic.Field(ge=0, le=99)
    tame: bool


def test_an_answer_is_parsed_into_the_applications_own_class(client: openai.OpenAI) -> None:
    """By the client's `parse`, which sends a strict schema; streamed it is the same text."""
    asked: Any = {"messages": CHAT, "max_tokens": 120, **GREEDY}
    answer = client.chat.completions.parse(response_format=Llama, **asked)
    assert isinstance(answer.choices[0].message.parsed, Llama)
    assert answer.choices[0].finish_reason == "stop"
    with client.chat.completions.stream(response_format=Llama, **asked) as stream:
        stream.until_done()
        same = stream.get_final_completion()
    assert same.choices[0].message.content == answer.choices[0].message.content
    assert same.choices[0].message.parsed == answer.choices[0].message.parsed


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ({"guided_choice": ["north", "south"]}, "north|south"),
        ({"guided_regex": "[0-9]{3}-[0-9]{2}"}, "[0-9]{3}-[0-9]{2}"),
        ({"guided_json": {"enum": ["x", "y"]}}, '"[xy]"'),
        ({"guided_grammar": 'root ::= "a" "b"+ "c"'}, "ab+c?"),
        ({"structured_outputs": {"choice": ["left", "right"]}}, "left|right"),
        ({"guided_choice": ["up", "down"], "num_beams": 3}, "up|down"),
    ],
)
def test_vllms_names_hold_the_output(client: openai.OpenAI, asked: dict[str, Any], pattern: str) -> None:
    """In chats and completions, by `extra_body`."""
    chat = client.chat.completions.create(messages=CHAT, max_tokens=40, extra_body=asked, **GREEDY)
    text = client.completions.create(prompt=PROMPT, max_tokens=40, extra_body=asked, **GREEDY)
    assert re.fullmatch(pattern, chat.choices[0].message.content or "")
    assert re.fullmatch(pattern, text.choices[0].text)


def test_a_schema_that_cannot_be_held_to_is_the_clients_exception(client: openai.OpenAI) -> None:
    """With the field that holds it."""
    wrong: Any = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "foo"}}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(messages=CHAT, response_format=wrong, **GREEDY)
    assert caught.value.param == "response_format.json_schema.schema"


def test_n_choices_are_drawn_and_a_seed_repeats_them(client: openai.OpenAI) -> None:
    """At OpenAI's default temperature of 1 they differ; streamed, each piece has its choice's index."""
    given: Any = {"model": "tiny", "messages": CHAT, "max_tokens": 8, "n": 3, "seed": -5}
    texts = [choice.message.content for choice in client.chat.completions.create(**given).choices]
    assert len(set(texts)) > 1
    streamed = [""] * 3
    for chunk in client.chat.completions.create(**given, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def pieces_of(stream: Iterable[Any]) -> tuple[str, str]:
    """The joined text of a stream of completions, and why it ended."""
    chunks = list(stream)
    return "".join(chunk.choices[0].text for chunk in chunks), chunks[-1].choices[0].finish_reason


def test_a_stop_string_ends_the_text_and_is_no_part_of_it(client: openai.OpenAI) -> None:
    """Also when it lies across the borders of tokens, and in a stream, where no piece of it slips out."""
    whole = client.completions.create(prompt=PROMPT, max_tokens=40, **GREEDY).choices[0].text
    stop = whole[11:16]
    cut = client.completions.create(prompt=PROMPT, max_tokens=40, stop=[stop, "never"], **GREEDY).choices[0]
    wanted = whole[: whole.index(stop)]
    assert (cut.text, cut.finish_reason) == (wanted, "stop")
    assert pieces_of(client.completions.create(prompt=PROMPT, max_tokens=40, stop=stop, stream=True, **GREEDY)) == (
        wanted,
        "stop",
    )


def test_own_parameters_are_sent_by_extra_body(client: openai.OpenAI, process: Process) -> None:
    """Four beams, as /predict finds them."""
    beams = {"num_beams": 4, "do_sample": False, "repetition_penalty": 1.2}
    answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=8, extra_body=beams)
    assert answer.usage is not None
    total = answer.usage.prompt_tokens + 8
    assert answer.choices[0].text == predict(process, prompt=PROMPT, max_new_tokens=total, **beams)["data"][0]


def test_penalties_and_biases_change_the_text(client: openai.OpenAI) -> None:
    """A token that is biased away does not appear; repetition is made costly."""
    given: Any = {"prompt": [[5, 6, 7]], "max_tokens": 6, **GREEDY}
    plain = client.completions.create(**given).choices[0].text
    away = {str(token): -100 for token in range(300)}
    assert client.completions.create(**given, logit_bias=away).choices[0].text != plain
    assert client.completions.create(**given, frequency_penalty=2, presence_penalty=2).choices[0].text != plain


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    """One, under its served name; another is not found."""
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "llama-operator")
    assert client.models.retrieve("tiny") == model
    with pytest.raises(openai.NotFoundError, match="it is tiny"):
        client.models.retrieve("gpt-4")


@pytest.mark.parametrize(
    ("given", "error", "param", "code"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model", "model_not_found"),
        ({"temperature": 3}, openai.BadRequestError, "temperature", "invalid_parameter"),
        ({"max_tokens": 999}, openai.BadRequestError, "max_tokens", "context_length_exceeded"),
        ({"web_search_options": {}}, openai.BadRequestError, "web_search_options", "unsupported_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools", None),
        ({"messages": []}, openai.BadRequestError, "messages", "invalid_parameter"),
        ({"extra_body": {"colour": 1}}, openai.BadRequestError, "colour", "unknown_parameter"),
        ({"extra_headers": {"X-Request-Timeout": "0.0001"}}, openai.InternalServerError, "X-Request-Timeout", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_the_clients_own_exception(
    client: openai.OpenAI,
    given: dict[str, Any],
    error: type[openai.APIStatusError],
    param: str,
    code: str | None,
    *,
    stream: bool,
) -> None:
    """With the message, the parameter and the code where the client looks for them; before a stream begins as well."""
    body: Any = {"model": "tiny", "messages": CHAT, "max_tokens": 5, "stream": stream, **given}
    with pytest.raises(error) as caught:
        client.chat.completions.create(**body)
    found = caught.value
    assert found.param == param
    assert found.code == code or code is None
    assert found.request_id
    assert isinstance(found.body, dict)
    assert found.body["message"] in found.message


def test_keys_are_asked_for_in_openais_shape(process: Process) -> None:
    """A wrong key and no key are the client's own exceptions."""
    with openai.OpenAI(base_url=f"{process.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError, match="this API key is none of the 1"):
            client.models.list()
        with pytest.raises(openai.AuthenticationError, match="an API key is needed"):
            client.models.list(extra_headers={"Authorization": openai.Omit()})


def test_a_stream_that_is_closed_frees_the_engine(client: openai.OpenAI, process: Process) -> None:
    """The client hangs up, and the slot is free."""
    with client.chat.completions.create(messages=CHAT, stream=True, stop="never", model="tiny") as stream:
        next(iter(stream))
    eventually(lambda: running(process) == 0, "the engine being free")


async def test_the_async_client_streams_many_chats_at_once(process: Process) -> None:
    """Each gets what it gets alone."""
    async with openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key=KEY, max_retries=0) as client:

        async def one(number: int) -> str:
            messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": f"{PROMPT} {number}"}]
            stream = await client.chat.completions.create(messages=messages, max_tokens=12, stream=True, **GREEDY)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        alone = [await one(number) for number in range(6)]
        assert len(set(alone)) > 1
        assert await asyncio.gather(*map(one, range(6))) == alone


async def test_the_async_client_gets_its_exceptions(process: Process) -> None:
    """As the other one does."""
    async with openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="it is tiny"):
            await client.chat.completions.create(model="gpt-4", messages=CHAT)


def test_a_full_queue_is_a_rate_limit(paced: tuple[Served, PacedBackend]) -> None:
    """With the seconds that the client waits before it tries again."""
    served, backend = paced
    first = served.ask({"prompt": "x", "max_new_tokens": 4})
    served.waits_for(running=1, waiting=0)
    second = served.ask({"prompt": "x", "max_new_tokens": 4})
    served.waits_for(running=1, waiting=1)
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError, match="requests wait already") as caught:
            client.chat.completions.create(messages=CHAT, **GREEDY)
        assert int(caught.value.response.headers["retry-after"]) >= 1
    backend.gate.open()
    assert [call.response().status_code for call in (first, second)] == [200, 200]


def test_a_stream_that_fails_in_the_middle_is_the_clients_exception(paced: tuple[Served, PacedBackend]) -> None:
    """After the chunks that came before; it does not end as if it were complete."""
    served, backend = paced
    backend.gate.let(2)
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", api_key="none", max_retries=0) as client:
        stream = iter(client.completions.create(prompt="x", max_tokens=9, stream=True, **GREEDY))
        assert next(stream).choices[0].text
        lane = served.server.serving.lane
        served.soon(lambda: lane.fail_all(UnavailableError("the engine is gone", code="engine_lost")))
        with pytest.raises(openai.APIError, match="the engine is gone"):
            list(stream)
    backend.gate.let(1)
