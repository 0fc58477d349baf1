"""What the operator asks a Hub: facts before any download, refusals told apart, a token that goes nowhere else."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from devcluster.pki import Identity, authority, issue
from llama_operator.cluster.hub import HubClient, HubQuery, hub_over_http
from llama_operator.cluster.hub_refusals import MOST_PATIENCE_SECONDS, patience
from llama_operator.plan.survey import HubRefusal, ModelFact, ModelShape
from tests.support.hub import HubServer
from tests.support.ports import free_port

READER, STRANGER, MISTYPED = "hf_reader", "hf_stranger", "hf_mistyped"
PUBLIC, GATED, PRIVATE = "acme/llama", "meta-llama/gated", "acme/private"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "max_position_embeddings": 256,
    "dtype": "float16",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository's files: 44 parameters in float16."""
    folder = tmp_path_factory.mktemp("repo")
    tensors = {"a": {"dtype": "F16", "shape": [4, 11], "data_offsets": [0, 88]}}
    header = json.dumps(tensors).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(88))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "notes.md").write_text("not downloaded, so not counted")
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    """A Hub with a public, a gated and a private repository; one account has access to all, another to none."""
    with HubServer(cdn=True) as hub:
        hub.add_repo(PUBLIC, folder, licence="apache-2.0")
        hub.add_repo(GATED, folder, gated="manual", licence="llama2")
        hub.add_repo(PRIVATE, folder, private=True)
        hub.tokens.add(READER, account="reader", grants=[GATED, PRIVATE])
        hub.tokens.add(STRANGER, account="stranger")
        yield hub


@pytest.fixture
async def client() -> AsyncIterator[HubClient]:
    """What asks."""
    async with hub_over_http() as client:
        yield client


def query(hub: HubServer | str, repo: str = PUBLIC, token: str | None = None, revision: str = "main") -> HubQuery:
    """A question to a Hub."""
    endpoint = hub if isinstance(hub, str) else hub.url
    return HubQuery(endpoint=endpoint, repo=repo, revision=revision, token=SecretStr(token) if token else None)


async def test_the_facts_are_those_of_the_listing_and_of_the_config(client: HubClient, hub: HubServer) -> None:
    """Commit, licence, parameters, bytes, shape: all that a memory estimate needs, without the weights."""
    fact = await client.ask(query(hub, GATED, READER))
    files = {entry.name: entry.size for entry in hub.repos[GATED].commits[hub.repos[GATED].refs["main"]].values()}
    assert fact == ModelFact(
        commit=hub.repos[GATED].refs["main"],
        gated=True,
        licence="llama2",
        parameters={"F16": 44},
        weight_bytes=files["model.safetensors"],
        total_bytes=files["model.safetensors"] + files["config.json"] + files["tokenizer.json"],
        shape=ModelShape(
            model_type="llama",
            architectures=("LlamaForCausalLM",),
            layers=2,
            kv_heads=2,
            head_dim=16,
            context=256,
            dtype="float16",
        ),
        chat_template=False,
    )
    assert all(request.sent < 2000 for request in hub.requests)
    assert not any(request.file.endswith(".safetensors") for request in hub.requests)


@pytest.mark.parametrize(
    ("repo", "token", "reason"),
    [
        (PUBLIC, MISTYPED, "TokenRejected"),
        (GATED, None, "TokenMissing"),
        (GATED, MISTYPED, "TokenRejected"),
        (GATED, STRANGER, "AccessDenied"),
        (PRIVATE, None, "RepositoryNotFound"),
        (PRIVATE, STRANGER, "RepositoryNotFound"),
        (PRIVATE, MISTYPED, "TokenRejected"),
        ("acme/missing", None, "RepositoryNotFound"),
        ("acme/missing", READER, "RepositoryNotFound"),
        (PUBLIC, "hf_two\nhf_lines", "TokenRejected"),
        (PUBLIC, "hf_ümlaut", "TokenRejected"),
    ],
)
async def test_refusals_are_told_apart(
    client: HubClient, hub: HubServer, repo: str, token: str | None, reason: str
) -> None:
    """Each calls for another deed: another token, the licence, another name."""
    found = await client.ask(query(hub, repo, token))
    assert isinstance(found, HubRefusal)
    assert found.reason == reason


async def test_a_missing_revision_is_told_from_a_missing_repository(client: HubClient, hub: HubServer) -> None:
    """A branch may have a slash in its name; one that is not there is no path that is not there."""
    hub.add_revision(
        PUBLIC, "release/1", hub.repos[PUBLIC].commits[hub.repos[PUBLIC].refs["main"]]["config.json"].path.parent
    )
    assert isinstance(await client.ask(query(hub, revision="release/1")), ModelFact)
    found = await client.ask(query(hub, revision="release/2"))
    assert isinstance(found, HubRefusal)
    assert found.reason == "RevisionNotFound"


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (500, {}, HubRefusal(reason="HubFailing", words="it answers with status 500")),
        (503, {}, HubRefusal(reason="HubFailing", words="it answers with status 503")),
        (404, {}, HubRefusal(reason="NotAHub", words="it answers with status 404, as no Hub does")),
        (
            407,
            {},
            HubRefusal(reason="ProxyFailed", words="it answers with status 407, and wants to know who asks"),
        ),
        (429, {}, HubRefusal(reason="HubRateLimited", words="it answers with status 429")),
        *(
            (
                429,
                headers,
                HubRefusal(
                    reason="HubRateLimited",
                    words="it answers with status 429 and wants to be left alone for 55 seconds",
                    retry_after=55,
                ),
            )
            for headers in ({"Retry-After": "55"}, {"RateLimit": '"api";r=0;t=55'})
        ),
    ],
)
async def test_what_a_hub_answers_is_told_apart_by_what_to_do(
    client: HubClient, hub: HubServer, status: int, headers: dict[str, str], expected: HubRefusal
) -> None:
    """Its own trouble, a limit, a proxy's word: whatever is not about this repository is to be tried again."""
    hub.fault("error", status=status, headers=headers)
    assert await client.ask(query(hub)) == expected


def test_a_time_to_be_left_alone_until_is_read_and_bounded() -> None:
    """HTTP allows a date; who wants a day of patience is asked again after an hour."""
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    found = patience({"Retry-After": until})
    assert found is not None
    assert 25 < found <= 30
    assert patience({"Retry-After": "86400"}) == MOST_PATIENCE_SECONDS
    assert patience({"Retry-After": "soon"}) is None
    assert patience({"RateLimit": '"api";r=7;t=55'}) is None


async def test_a_hub_that_is_silent_is_given_up(hub: HubServer) -> None:
    """A connection that never answers costs its time limit, no more."""
    hub.fault("hang")
    async with aiohttp.ClientSession() as session:
        found = await HubClient(session, timeout=aiohttp.ClientTimeout(total=0.05)).ask(query(hub))
    assert found == HubRefusal(reason="HubTimedOut", words="no answer in 0.05 seconds")


async def test_a_hub_that_is_not_there_is_unreachable(client: HubClient, hub: HubServer) -> None:
    """The words say which kind of not there."""
    hub.stop()
    found = await client.ask(query(hub))
    assert found == HubRefusal(reason="HubUnreachable", words="the connection is refused")


async def test_a_name_that_nobody_knows_is_told_from_a_hub_that_is_away(client: HubClient) -> None:
    """RFC 6761 keeps `.invalid` for names that are none."""
    found = await client.ask(query("http://hub.invalid"))
    assert found == HubRefusal(reason="HubNameUnknown", words="no such name")


async def test_a_hub_that_speaks_no_tls_is_told_as_such(client: HubClient, hub: HubServer) -> None:
    """A typing error of one letter in the endpoint."""
    found = await client.ask(query(hub.url.replace("http://", "https://")))
    assert isinstance(found, HubRefusal)
    assert (found.reason, "write http:// for https://" in found.words) == ("HubNotTrusted", True)


async def test_a_certificate_of_an_unknown_authority_is_told_as_such(client: HubClient, tmp_path: Path) -> None:
    """As a mirror of one's own has, or a proxy that looks into TLS."""
    pair = issue(authority(), Identity("hub"))
    (tmp_path / "pair.pem").write_bytes(pair.certificate_pem + pair.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pair.pem")
    server = TestServer(web.Application(), scheme="https", host="localhost")
    await server.start_server(ssl=context)
    found = await client.ask(query(f"https://localhost:{server.port}"))
    await server.close()
    words = "its certificate is refused: unable to get local issuer certificate"
    assert found == HubRefusal(reason="HubNotTrusted", words=words)


@pytest.mark.parametrize("status", [None, 403])
async def test_a_proxy_that_is_away_or_says_no_is_not_taken_for_the_hub(
    status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub may be well: it was never asked."""
    refusing = await asyncio.start_server(partial(refuse, status or 0), "127.0.0.1", 0)
    port = refusing.sockets[0].getsockname()[1] if status else free_port()
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    async with refusing, hub_over_http() as client:
        found = await client.ask(query("https://hub.example"))
    words = f"it answers with status {status}" if status else "the connection is refused"
    assert found == HubRefusal(reason="ProxyFailed", words=words)


async def refuse(status: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a CONNECT with a status."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
    writer.close()
    await writer.wait_closed()


class Recorder:
    """A server that answers one page and keeps the Authorization header of each request."""

    def __init__(self, respond: web.StreamResponse | str) -> None:
        self.authorizations: list[str | None] = []
        self._respond = respond
        self.server = TestServer(self._app())

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.authorizations.append(request.headers.get("Authorization"))
        if isinstance(self._respond, str):
            return web.Response(status=HTTPStatus.FOUND, headers={"Location": self._respond})
        return web.Response(body=self._respond.body if isinstance(self._respond, web.Response) else b"")


async def test_the_token_is_not_sent_where_a_redirect_leads(client: HubClient) -> None:
    """A Hub, or who claims to be one, may send us anywhere: the token stays."""
    elsewhere = Recorder(web.Response(body=b"{}"))
    async with elsewhere.server:
        endpoint = Recorder(str(elsewhere.server.make_url("/taken")))
        async with endpoint.server:
            found = await client.ask(query(str(endpoint.server.make_url("")), token=READER))
    assert endpoint.authorizations == [f"Bearer {READER}"]
    assert elsewhere.authorizations == [None]
    assert isinstance(found, HubRefusal)


async def test_redirects_within_the_hub_keep_the_token(client: HubClient, hub: HubServer) -> None:
    """huggingface.co sends small files of gated repositories by way of its own cache."""
    assert isinstance(await client.ask(query(hub, GATED, READER)), ModelFact)
    assert ("/api/resolve-cache/models", "reader") in {
        ("/".join(request.path.split("/")[:4]), request.account) for request in hub.requests
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>sign in to the network</html>", "its answer is not a Hub's"),
        (b'{"sha": 7}', "its answer is not a Hub's"),
        (b'{"sha": "' + b"x" * 17 * 2**20, "its answer is longer than 16777216 bytes"),
    ],
    ids=["a captive portal", "no commit", "without end"],
)
async def test_an_answer_that_is_none_is_not_believed(client: HubClient, body: bytes, words: str) -> None:
    """Neither its form nor its length is the Hub's word for anything."""
    recorder = Recorder(web.Response(body=body))
    async with recorder.server:
        found = await client.ask(query(str(recorder.server.make_url(""))))
    assert found == HubRefusal(reason="NotAHub", words=words)


@pytest.mark.parametrize("token", [READER, MISTYPED, "hf_two\nhf_lines"])
async def test_no_token_is_ever_written_down(
    client: HubClient, hub: HubServer, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the log, not in an answer, not in what a traceback would show of the question."""
    caplog.set_level(logging.DEBUG)
    asked = query(hub, GATED, token)
    answers = [await client.ask(asked)]
    hub.stop()
    answers.append(await client.ask(asked))
    await asyncio.sleep(0)
    written = caplog.text + repr(answers) + repr(asked)
    assert token not in written
    assert token.splitlines()[0] not in written
