"""API keys at the gateway's door: the same are let in as by the server, and the others hear the same."""

import asyncio
from pathlib import Path

import pytest

from llama_inference.errors import RequestError, UnauthorizedError
from llama_inference.middleware.targets import plain
from llama_inference.protocol.failures import speaks_openai
from llama_inference.protocol.keys import Keys
from llama_operator.gateway.keys import CHALLENGE, Door, Refusal
from tests.llama_operator.gateway.conftest import Stands, until

PATHS = (
    "/predict", "/v1/completions", "/v1/chat/completions/", "//v1//models", "/v1/models/a/b:predict", "/tokenize",
    "/v1/models/a/predict/", "/v1/models/predict", "/v1", "/v1x/y", "/detokenize/", "/v1/models/unpredict", "/",
)  # fmt: skip
FILES = {"web.site": b"one\n", "team.ci": b" two ", "team.empty": b" \n", "team.word": "schlüssel".encode()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Keys as a Secret is mounted, with what the kubelet keeps beside them."""
    for name, content in {**FILES, "..hidden": b"hidden"}.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def of_the_server(header: str | None, path: str) -> Refusal | None:
    """What the server answers."""
    presented = None if header is None else header.encode(errors="surrogateescape")
    try:
        Keys.parse(FILES).check(presented, of_openai=speaks_openai(plain(path)))
    except RequestError as error:
        return Refusal(error.status, error.code, str(error))
    return None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Api-Key",
        "Api-Key ",
        "one",
        "Basic one",
        "Api-Key one",
        "bearer  two ",
        "BEARER two",
        "Api-Key  on",
        "Api-Key hidden",
        "Api-Key schlüssel",
        "Api-Key \udcff",
    ],
)
async def test_it_is_as_strict_as_the_server_and_says_the_same(folder: Path, header: str | None) -> None:
    """Else a caller would wake a model that then refuses it, or be refused by one of the two."""
    for path in PATHS:
        assert Door(folder).refusal(header, path) == of_the_server(header, path), path


async def test_without_a_folder_everybody_is_let_in() -> None:
    """And with one in which there is no key, nobody."""
    assert Door(None).refusal(None, "/predict") is None
    found = Door(Path("/nowhere")).refusal("Api-Key one", "/predict")
    assert found is not None
    assert found.status == 403


async def test_keys_come_and_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a restart."""
    monkeypatch.setattr("llama_operator.gateway.keys.LOOK_SECONDS", 0)
    door = Door(folder)
    assert door.refusal("Api-Key one", "/predict") is None
    (folder / "web.site").write_bytes(b"three")
    assert door.refusal("Api-Key one", "/predict") is not None
    assert door.refusal("Api-Key three", "/predict") is None


def test_the_challenge_is_the_servers() -> None:
    """Clients choose by it how to present a key."""
    assert UnauthorizedError.headers["www-authenticate"] == CHALLENGE


@pytest.mark.slow
async def test_who_has_no_key_wakes_nothing(gateway: Stands, tmp_path: Path) -> None:
    """The answer is a pod's, in the form of predict and of OpenAI's; who has one is served."""
    (tmp_path / "web.site").write_text("secret")
    async with gateway.asleep(api_keys_dir=tmp_path) as stand:
        await until(lambda: stand.cluster.calls)
        for key, status, code in ((None, 401, "missing_api_key"), ("Api-Key x", 403, "wrong_api_key")):
            headers = {} if key is None else {"Authorization": key}
            async with stand.session.post(stand.url, data=b"x", headers=headers) as answer:
                body = await answer.json()
                assert (answer.status, body["status"], body["error"]["code"]) == (status, "error", code)
                assert "Api-Key" in answer.headers["WWW-Authenticate"]
        assert (stand.cluster.writes, stand.model.asked) == ([], [])
        assert await stand.metric('llama_gateway_requests_total{outcome="refused"}') == 2
        waking = asyncio.create_task(stand.operator())
        async with stand.session.post(stand.url, data=b"x", headers={"Authorization": "Bearer secret"}) as answer:
            assert answer.status == 200
        await waking


@pytest.mark.slow
async def test_who_has_no_key_keeps_nothing_awake(gateway: Stands, tmp_path: Path) -> None:
    """Nor does it get to a pod."""
    async with gateway.awake(api_keys_dir=tmp_path) as stand:
        async with stand.session.post(stand.url, data=b"x") as answer:
            assert answer.status == 401
        assert stand.model.asked == []
        assert await stand.metric('llama_gateway_requests_total{outcome="forwarded"}') == 0
