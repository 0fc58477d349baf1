"""A Hub elsewhere, steered with the words of one in this process."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from tests.hub.conftest import REPO
from tests.support.hub import HubServer, RemoteHub

GATED = "meta-llama/gated"


@pytest.fixture
def remote(hub: HubServer) -> RemoteHub:
    """The control side of the Hub."""
    return RemoteHub(hub.url)


def test_repositories_and_tokens_are_added(hub: HubServer, remote: RemoteHub, folder: Path) -> None:
    """The commit comes back; the token works from then on."""
    commit = remote.add_repo(GATED, str(folder), gated="manual", revision="v2")
    remote.add_token("hf_reader", account="reader", grants=[GATED])
    api = HfApi(endpoint=hub.url, token="hf_reader")
    assert api.model_info(GATED, revision="v2").sha == commit
    api.auth_check(GATED)


def test_access_is_taken_back(hub: HubServer, remote: RemoteHub, folder: Path) -> None:
    """The grant first, then the token itself."""
    hub.add_repo(GATED, folder, gated="manual")
    remote.add_token("hf_reader", account="reader", grants=[GATED])
    api = HfApi(endpoint=hub.url, token="hf_reader")
    remote.withdraw("reader", GATED)
    with pytest.raises(GatedRepoError):
        api.auth_check(GATED)
    remote.revoke("hf_reader")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami()


def test_faults_come_and_go(hub: HubServer, remote: RemoteHub) -> None:
    """A fault holds until all are cleared."""
    remote.fault("error", repo=REPO, status=500)
    with pytest.raises(HfHubHTTPError, match="500"):
        HfApi(endpoint=hub.url, token=False).model_info(REPO)
    remote.clear_faults()
    assert HfApi(endpoint=hub.url, token=False).model_info(REPO).id == REPO


def test_the_journal_is_read_and_emptied(hub: HubServer, remote: RemoteHub) -> None:
    """It is the same as here, and holds no control request."""
    HfApi(endpoint=hub.url, token=False).model_info(REPO)
    assert remote.wait_for(lambda seen: seen[0].finished) == hub.requests
    remote.forget_requests()
    assert remote.requests == []
    with pytest.raises(TimeoutError, match="has seen only"):
        remote.wait_for(lambda seen: seen, timeout_s=0)


def test_what_cannot_be_done_is_said(remote: RemoteHub, tmp_path: Path) -> None:
    """With the words of the Hub, not a bare status."""
    with pytest.raises(ValueError, match="holds no file to serve"):
        remote.add_repo(REPO, str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="gatet"):
        remote.add_repo(REPO, str(tmp_path), gatet="manual")
