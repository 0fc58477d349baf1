"""Who may download what: tokens, gates, names; and no token where it does not belong."""

from pathlib import Path
from typing import NamedTuple

import pytest

from llama_inference.errors import LoadReason
from tests.llama_inference.repository import (
    NAME,
    Repository,
    refusal,
    same,
    write_model,
)
from tests.support.hub import HubServer

pytestmark = pytest.mark.slow  # real servers, real transfers


class Case(NamedTuple):
    """Who asks for a repository, and what comes of it."""

    gated: bool
    private: bool
    token: str | None
    reason: LoadReason | None
    words: str


CASES = [
    Case(False, False, None, None, ""),
    Case(True, False, "hf_reader", None, ""),
    Case(False, True, "hf_reader", None, ""),
    Case(True, False, None, LoadReason.TOKEN_MISSING, "there is none in"),
    Case(True, False, "hf_wrong", LoadReason.TOKEN_REJECTED, "does not accept the token in"),
    Case(True, False, "hf_stranger", LoadReason.ACCESS_DENIED, "accept the licence at"),
    Case(False, True, None, LoadReason.REPOSITORY_NOT_FOUND, "or it is private and no token was given"),
    Case(False, True, "hf_stranger", LoadReason.REPOSITORY_NOT_FOUND, "has no access to it"),
    Case(False, False, "hf_wrong", LoadReason.TOKEN_REJECTED, "correct the Secret"),
    Case(False, False, "hf_two\nhf_lines", LoadReason.TOKEN_REJECTED, "something else than one token"),
    Case(False, False, "hf_with space", LoadReason.TOKEN_REJECTED, "something else than one token"),
    Case(False, False, "hf_ünicode", LoadReason.TOKEN_REJECTED, "something else than one token"),
]


@pytest.mark.parametrize("case", CASES)
def test_access_is_what_the_token_gives(repository: Repository, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """Each refusal has its reason and names the token's file, never the token."""
    repository.publish(gated="manual" if case.gated else False, private=case.private)
    if case.token is not None:
        repository.token_path.write_text(case.token + "\n")
    if case.reason is None:
        assert same(repository.fetch(), repository.folder)
        return
    error = refusal(repository)
    assert error.reason is case.reason
    assert case.words in str(error)
    causes = [error, error.__cause__, error.__context__]
    assert case.token is None or not any(case.token.encode().hex() in str(cause).encode().hex() for cause in causes)
    assert case.token is None or case.token not in caplog.text


def test_a_corrected_token_is_read_at_the_next_try(repository: Repository) -> None:
    """The file is read each time."""
    repository.publish(gated="manual")
    repository.token_path.write_text("hf_wrong")
    assert refusal(repository).reason is LoadReason.TOKEN_REJECTED
    repository.token_path.write_text("hf_reader")
    assert same(repository.fetch(), repository.folder)


def test_no_other_token_of_the_machine_is_sent(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment's nor one that somebody logged in with."""
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    repository.fetch()
    assert not any(record.token_given for record in repository.hub.requests)


def test_a_missing_revision_is_named(repository: Repository) -> None:
    """With the field to correct."""
    error = refusal(repository, "v9")
    assert error.reason is LoadReason.REVISION_NOT_FOUND
    assert "no revision v9: correct spec.model.revision" in str(error)


def test_a_missing_repository_is_named(repository: Repository) -> None:
    """With the fields to correct."""
    repository.token_path.write_text("hf_reader")
    repository.hub.remove_repo(NAME)
    error = refusal(repository)
    assert error.reason is LoadReason.REPOSITORY_NOT_FOUND
    assert "correct spec.model.repo" in str(error)


def test_a_repository_without_safetensors_is_refused_before_anything_large(repository: Repository) -> None:
    """Only the list is asked for."""
    (repository.folder / "model.safetensors").unlink()
    repository.publish()
    assert refusal(repository).reason is LoadReason.NO_SAFETENSORS
    assert all(not record.file for record in repository.hub.requests)


def test_a_hub_that_refuses_is_not_away(repository: Repository) -> None:
    """A token that was revoked is not worked around."""
    repository.token_path.write_text("hf_reader")
    repository.fetch()
    repository.token_path.write_text("hf_wrong")
    assert refusal(repository).reason is LoadReason.TOKEN_REJECTED


def test_the_token_is_not_sent_to_the_cdn(tmp_path: Path) -> None:
    """Large files come from another host, whose links are signed."""
    with HubServer(cdn=True) as hub:
        hub.tokens.add("hf_reader", account="alice", grants=[NAME])
        repository = Repository(hub, write_model(tmp_path / "model"), tmp_path / "cache", tmp_path / "token")
        repository.publish(gated="manual")
        repository.token_path.write_text("hf_reader")
        assert same(repository.fetch(), repository.folder)
        given = {record.host.partition(":")[0]: record.token_given for record in hub.requests}
        assert given == {"127.0.0.1": True, "localhost": False}
