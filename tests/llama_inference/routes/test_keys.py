"""API keys over HTTP: a mounted Secret opens the routes of the model, and changes without a restart."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from llama_inference.routes.keys import KeyFolder
from tests.llama_inference.harness import Served, errors, eventually, serve_mock

SHORT = {"prompt": "x", "max_new_tokens": 4}


class Secret:
    """A folder as the kubelet mounts a Secret: files are links into the folder that the link `..data` names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir()

    def put(self, **keys: str) -> None:
        """Replace all keys at once, as the kubelet does."""
        self._version += 1
        version = self.folder / f"..2026_11_24.{self._version}"
        version.mkdir()
        for name, key in keys.items():
            (version / name).write_text(key)
        turning = self.folder / "..data_tmp"
        turning.symlink_to(version.name)
        turning.rename(self.folder / "..data")
        for name in keys:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        for link in self.folder.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Secret:
    """An empty one."""
    return Secret(tmp_path_factory.mktemp("keys") / "mounted")


@pytest.fixture(scope="module")
def guarded(secret: Secret) -> Iterator[Served]:
    """A ready server whose keys are in the Secret."""
    server, _ = serve_mock(api_keys_dir=secret.folder)
    with server:
        yield server.ready()


def ask(served: Served, authorization: str | None) -> httpx2.Response:
    """Ask with an `Authorization` header, or without."""
    return served.predict(SHORT, **({} if authorization is None else {"authorization": authorization}))


def status(served: Served, key: str) -> int:
    """The status of a request with a key."""
    return ask(served, f"Api-Key {key}").status_code


def test_a_key_opens_the_model_and_is_counted_by_its_name(guarded: Served, secret: Secret) -> None:
    """Under both schemes; several hold at once."""
    secret.put(alice="key-of-alice\n", bob="key-of-bob")
    eventually(lambda: status(guarded, "key-of-alice") == 200, "the key being read")
    before = guarded.metric("api_key_requests_total", key="bob")
    tokens = guarded.metric("api_key_tokens_total", key="bob", kind="generation")
    assert ask(guarded, "Bearer key-of-bob").status_code == 200
    assert guarded.metric("api_key_tokens_total", key="bob", kind="generation") == tokens + 3
    assert guarded.metric("api_key_requests_total", key="bob") == before + 1
    assert "key-of" not in guarded.client.get("/metrics").text


def test_no_key_answers_401_and_a_wrong_one_403(guarded: Served, secret: Secret) -> None:
    """Both say how a key is sent, in the body and in the header for programs; both are counted."""
    secret.put(alice="key-of-alice")
    eventually(lambda: status(guarded, "key-of-alice") == 200, "the key being read")
    for authorization, wanted in ((None, (401, "missing_api_key")), ("Bearer guess", (403, "wrong_api_key"))):
        before = guarded.metric("api_key_refusals_total", reason=wanted[1])
        answer = ask(guarded, authorization)
        code, reason, param, message = errors(answer)
        assert (code, reason) == wanted
        assert param == "Authorization"
        assert "Authorization: Api-Key KEY" in message
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert guarded.metric("api_key_refusals_total", reason=wanted[1]) == before + 1


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions/", "//v1/models"])
def test_a_wrong_key_answers_401_where_openais_clients_ask(guarded: Served, secret: Secret, path: str) -> None:
    """They know it by that, and by OpenAI's code; metrics know the reason by the same."""
    secret.put(alice="key-of-alice")
    eventually(lambda: status(guarded, "key-of-alice") == 200, "the key being read")
    before = guarded.metric("api_key_refusals_total", reason="invalid_api_key")
    method = "GET" if path.endswith("models") else "POST"
    address = f"http://127.0.0.1:{guarded.port}{path}"
    answer = guarded.client.request(method, address, headers={"authorization": "Bearer guess"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (401, "invalid_api_key", "authentication_error")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert guarded.metric("api_key_refusals_total", reason="invalid_api_key") == before + 1
    assert guarded.client.request(method, address).json()["error"]["code"] == "missing_api_key"


@pytest.mark.slow
def test_keys_are_read_again_when_the_secret_changes(guarded: Served, secret: Secret) -> None:
    """A new key holds and a removed one does not, on the running server."""
    secret.put(alice="old-key")
    eventually(lambda: status(guarded, "old-key") == 200, "the old key being read")
    secret.put(alice="old-key", alice2="new-key")
    eventually(lambda: status(guarded, "new-key") == 200, "the new key being read")
    assert status(guarded, "old-key") == 200
    secret.put(alice2="new-key")
    eventually(lambda: status(guarded, "old-key") == 403, "the old key being forgotten")
    assert status(guarded, "new-key") == 200


def test_a_file_written_in_place_counts_as_a_change(tmp_path: Path) -> None:
    """Folders without a kubelet change so."""
    folder = KeyFolder(tmp_path, look_every=0)
    (tmp_path / "a").write_text("one")
    assert folder.current().name_of(b"one") == "a"
    (tmp_path / "a").write_text("another")
    assert folder.current().name_of(b"another") == "a"


@pytest.mark.slow
def test_without_any_key_nobody_is_let_in(guarded: Served, secret: Secret) -> None:
    """Neither while the folder is empty nor while it is not there: a mistake must not open the model."""
    secret.put(alice="key")
    eventually(lambda: status(guarded, "key") == 200, "the key being read")
    secret.put()
    eventually(lambda: status(guarded, "key") == 403, "the key being forgotten")
    assert len(KeyFolder(secret.folder / "nowhere").current()) == 0


def test_what_was_read_holds_while_a_look_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A look in the middle of a change must not lock everybody out; it is logged and tried again."""
    (tmp_path / "a").write_text("one")
    folder = KeyFolder(tmp_path, look_every=0)
    assert len(folder.current()) == 1
    (tmp_path / "b").write_text("two")

    def broken(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken)
        assert folder.current().name_of(b"one") == "a"
        assert "cannot be read" in caplog.text
    assert folder.current().name_of(b"two") == "b"


def test_a_file_too_large_for_a_key_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With its name in the log."""
    (tmp_path / "a").write_text("k" * 5000)
    assert len(KeyFolder(tmp_path).current()) == 0
    assert [vars(record)["file"] for record in caplog.records if "too large" in record.message] == ["a"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/startupz", "/metrics", "/info", "/docs"])
def test_probes_and_metrics_need_no_key(guarded: Served, path: str) -> None:
    """The kubelet and Prometheus have none."""
    assert guarded.client.get(path).status_code == 200


def test_the_description_says_which_routes_need_a_key(guarded: Served, served: Served) -> None:
    """So that /docs asks for one; a server without keys says nothing of them."""
    paths = guarded.client.get("/openapi.json").json()["paths"]
    assert all("security" in paths[path]["post"] for path in ("/predict", "/v1/chat/completions", "/v1/completions"))
    assert not any("security" in paths[path]["get"] for path in ("/healthz", "/metrics", "/info"))
    assert "security" not in served.client.get("/openapi.json").json()["paths"]["/predict"]["post"]


def test_a_key_is_in_no_line_of_log(guarded: Served, secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    """Its name is, where its request was answered."""
    secret.put(alice="key-of-alice")
    eventually(lambda: status(guarded, "key-of-alice") == 200, "the key being read")
    caplog.set_level(logging.DEBUG, "llama_inference")
    ask(guarded, "Bearer key-of-alice")
    ask(guarded, "Bearer key-of-carol")
    rows = lambda: [vars(record) for record in caplog.records if record.name.endswith("observe")]  # noqa: E731
    names = lambda: {(row["status"], row.get("api_key")) for row in rows()}  # noqa: E731
    eventually(lambda: len(names()) == 2, "both lines")
    assert names() == {(200, "alice"), (403, None)}
    assert "key-of" not in str([vars(record) for record in caplog.records if not record.name.startswith("http")])
