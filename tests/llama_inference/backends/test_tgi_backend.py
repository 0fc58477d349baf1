"""The TGI backend against a server that checks requests and answers by TGI's own description."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient

from llama_inference.backends.opening import open_backend
from tests.llama_inference.harness import Served, errors, eventually, serve, settings
from tests.support.ports import free_port
from tests.support.tgi import TgiServer, checked

pytestmark = pytest.mark.slow  # torch's import, for the tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_dir: Path) -> Any:
    """The tiny model's tokenizer, which both sides use."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    return AutoTokenizer.from_pretrained(tiny_dir)


@pytest.fixture
def tgi(tokenizer: Any) -> Iterator[TgiServer]:
    """A TGI server; nothing runs in it at the end."""
    with checked(tokenizer) as server:
        yield server
        eventually(lambda: server.streams == 0, "every output being ended")


@pytest.fixture
def served(tgi: TgiServer, tiny_dir: Path) -> Iterator[Served]:
    """Our server in front of it, ready; what the warm-up asked is forgotten."""
    opened = settings(backend="tgi", tgi_url=tgi.url, model_dir=tiny_dir)
    with serve(lambda progress, metrics: open_backend(opened, progress, metrics)) as server:
        yield server.ready()


def text(tokenizer: Any, tgi: TgiServer, tokens: int) -> str:
    """What the stand-in's first tokens read."""
    return tokenizer.decode(tgi.words(tokens))


def test_tgis_own_client_understands_the_stand_in(tgi: TgiServer) -> None:
    """The double speaks the true protocol."""
    client = InferenceClient(model=tgi.url)
    events = list(client.text_generation("Hello", max_new_tokens=3, details=True, stream=True))
    assert [event.token.id for event in events] == tgi.words(3)
    assert events[-1].details is not None
    assert events[-1].details.finish_reason == "length"


def test_a_prompt_is_answered_by_tgi(served: Served, tgi: TgiServer, tokenizer: Any) -> None:
    """The same tokens reach TGI as are counted here, and its text comes back."""
    answer = served.predict({"prompt": "Grüße 🦙", "max_new_tokens": 30, "num_beams": 1}).json()
    ids = tokenizer("Grüße 🦙")["input_ids"]
    assert tgi.prompts[-1] == ids
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert answer["data"] == [text(tokenizer, tgi, 30 - len(ids))]
    assert answer["finish_reason"] == ["length"]


def test_a_chat_reaches_tgi_with_one_start_token(served: Served, tgi: TgiServer, tokenizer: Any) -> None:
    """The template writes the start token, and TGI adds one itself."""
    messages = [{"role": "user", "content": "Hi"}]
    assert served.predict({"messages": messages, "max_new_tokens": 60}).status_code == 200
    assert tgi.prompts[-1].count(tokenizer.bos_token_id) == 1


def test_pieces_of_a_stream_are_the_whole_text(served: Served, tgi: TgiServer, tokenizer: Any) -> None:
    """Also where a character takes several tokens."""
    answer = served.predict({"prompt": "Hi", "max_new_tokens": 60, "num_beams": 1}).json()
    events = served.events({"prompt": "Hi", "max_new_tokens": 60})
    assert "".join(piece_of(event) for event in events) == answer["data"][0]
    assert "🦙" in answer["data"][0]


def piece_of(event: str) -> str:
    """The text of an event of ours."""
    content = event.removeprefix("data: ")
    return json.loads(content).get("text", "") if content != "[DONE]" else ""


def test_parameters_reach_tgi(served: Served, tgi: TgiServer) -> None:
    """Those that it honours, under its names."""
    drawn = {"do_sample": True, "temperature": 0.5, "top_k": 7, "top_p": 0.9, "typical_p": 0.8, "seed": 3}
    answer = served.predict({"prompt": "Hi", "max_new_tokens": 20, "repetition_penalty": 1.2, **drawn})
    assert answer.status_code == 200
    asked = tgi.requests[-1]["parameters"]
    assert {**drawn, "repetition_penalty": 1.2}.items() <= asked.items()


def test_sequences_are_requests_of_their_own(served: Served, tgi: TgiServer) -> None:
    """Each with a seed that is not the other's."""
    answer = served.predict(
        {"prompt": "Hi", "max_new_tokens": 20, "do_sample": True, "num_return_sequences": 2, "num_beams": 1}
    )
    assert len(answer.json()["data"]) == 2
    assert len({row["parameters"]["seed"] for row in tgi.requests[-2:]}) == 2


def test_a_stop_string_ends_the_output_and_the_work(served: Served, tgi: TgiServer, tokenizer: Any) -> None:
    """It is found here, among any number of them, and TGI's stream is ended at the token that completes it."""
    tgi.held = next(tokens for tokens in range(60) if "Altiplano" in text(tokenizer, tgi, tokens))
    stops = ["Altiplano", *"12345"]
    answer = served.predict({"prompt": "Hi", "max_new_tokens": 60, "stop_strings": stops}).json()
    assert answer["data"] == [text(tokenizer, tgi, tgi.held)]
    assert (answer["finish_reason"], answer["usage"]["completion_tokens"]) == (["stop"], tgi.held)
    eventually(lambda: tgi.streams == 0, "TGI's stream being ended")


def test_what_tgi_cannot_do_is_refused_here(served: Served, tgi: TgiServer) -> None:
    """With who can, before TGI is asked."""
    before = len(tgi.requests)
    status, code, param, message = errors(served.predict({"prompt": "Hi", "num_beams": 4}))
    assert (status, code, param) == (400, "unsupported_parameter", "num_beams")
    assert "native, transformers and vllm can" in message
    assert len(tgi.requests) == before


def test_what_tgi_refuses_is_400(served: Served, tgi: TgiServer) -> None:
    """With its own words."""
    tgi.refuses = (422, "Input validation error: `inputs` is too long", "validation")
    answer = served.predict({"prompt": "Hi", "max_new_tokens": 20})
    status, _, _, message = errors(answer)
    assert status == 400
    assert "`inputs` is too long" in message


def test_an_overloaded_tgi_is_503_with_a_time(served: Served, tgi: TgiServer) -> None:
    """Another replica may have room."""
    tgi.refuses = (429, "Model is overloaded", "overloaded")
    answer = served.predict({"prompt": "Hi", "max_new_tokens": 20})
    assert errors(answer)[:2] == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_failure_in_the_middle_is_told(served: Served, tgi: TgiServer) -> None:
    """In a stream as its last event."""
    tgi.fails_after = 3
    assert errors(served.predict({"prompt": "Hi", "max_new_tokens": 20}))[:2] == (500, "bad_gateway")
    tgi.held = 2
    with served.client.stream(
        "POST", "/predict", json={"prompt": "Hi", "max_new_tokens": 20, "stream": True}
    ) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data:")
        tgi.release()
        assert "event: error" in list(lines)


def test_a_stream_that_is_cut_is_no_answer(served: Served, tgi: TgiServer) -> None:
    """Half an output is not passed off as whole."""
    tgi.cuts_after = 3
    assert errors(served.predict({"prompt": "Hi", "max_new_tokens": 20}))[:2] == (503, "engine_unreachable")


def test_a_caller_that_hangs_up_ends_the_output_at_tgi(served: Served, tgi: TgiServer) -> None:
    """Its place is free for others."""
    tgi.held = 2
    with served.connection({"prompt": "Hi", "max_new_tokens": 50, "stream": True}) as connection:
        connection.recv(100)
        eventually(lambda: tgi.streams == 1, "the output")
    served.waits_for(running=0, waiting=0)
    tgi.release()
    eventually(lambda: tgi.streams == 0, "its end")


def opened(url: str, folder: Path, link: Path) -> Any:
    """Our server in front of what is or comes at a URL."""
    given = settings(
        backend="tgi", tgi_url=url, model_dir=folder, tgi_model_link=link,
        retry_seconds=0.02, retry_max_seconds=0.02,
    )  # fmt: skip
    return serve(lambda progress, metrics: open_backend(given, progress, metrics))


def test_a_tgi_that_still_loads_is_no_failure(
    tokenizer: Any, tiny_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The model's folder is handed over, and whoever asks is told of a model that loads, without an error."""
    port, link = free_port(), tmp_path / "model"
    caplog.set_level("INFO")
    with opened(f"http://127.0.0.1:{port}", tiny_dir, link) as server:
        eventually(lambda: "TGI is still starting" in caplog.text, "the wait", 60)
        report = server.client.get("/startupz").json()
        (load,) = (row for row in report["stages"] if row["name"] == "Load")
        assert (report["stage"], load["state"], report["error"]) == ("Load", "running", None)
        assert link.resolve() == tiny_dir.resolve()
        with checked(tokenizer, port=port):
            server.ready()


def test_a_tgi_that_has_failed_is_told(tgi: TgiServer, tiny_dir: Path, tmp_path: Path) -> None:
    """As a load that failed, which is tried again."""
    tgi.ready = False
    with opened(tgi.url, tiny_dir, tmp_path / "model") as server:
        eventually(lambda: server.client.get("/startupz").json()["error"], "the failure being told", 60)
        report = server.client.get("/startupz").json()
        assert (report["stage"], report["error"]["reason"]) == ("Load", "LoadFailed")
        assert "is not healthy" in report["error"]["message"]
        tgi.ready = True
        server.ready()
