"""Who is let in, and what the true client raises for those who are not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError

from llama_operator.cluster.hub_refusals import patience
from tests.hub.conftest import FILES, REPO
from tests.support.hub import HubServer

pytestmark = pytest.mark.slow  # real servers, real transfers

READER, STRANGER, MISTYPED = "hf_reader", "hf_stranger", "hf_mistyped"
GATED, PRIVATE = "meta-llama/gated", "acme/private"


@pytest.fixture
def hub(folder: Path) -> Iterator[HubServer]:
    """A Hub with a public, a gated and a private repository; one account has access to all, another to none."""
    with HubServer() as hub:
        hub.add_repo(REPO, folder)
        hub.add_repo(GATED, folder, gated="manual")
        hub.add_repo(PRIVATE, folder, private=True)
        hub.tokens.add(READER, account="reader", grants=[GATED, PRIVATE])
        hub.tokens.add(STRANGER, account="stranger")
        yield hub


@pytest.fixture
def fetch(hub: HubServer, tmp_path: Path) -> Callable[..., bytes]:
    """Download a file as the true client does, with a token or none."""

    def fetch(repo: str, token: str | None = None, file: str = "config.json") -> bytes:
        return Path(
            hf_hub_download(repo, file, endpoint=hub.url, token=token or False, cache_dir=tmp_path)
        ).read_bytes()

    return fetch


def api(hub: HubServer, token: str | None = None) -> HfApi:
    """The client's API with a token or none."""
    return HfApi(endpoint=hub.url, token=token or False)


def refusal(error: type[HfHubHTTPError], call: Callable[[], object]) -> HfHubHTTPError:
    """Return the error that a call must end in, of exactly this type."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return caught.value


@pytest.mark.parametrize(("token", "status"), [(None, 401), (MISTYPED, 401), (STRANGER, 403)])
def test_gated_files_are_refused(fetch: Callable[..., bytes], token: str | None, status: int) -> None:
    """401 GatedRepo for nobody in particular, 403 GatedRepo for an account that was not let in."""
    error = refusal(GatedRepoError, lambda: fetch(GATED, token))
    assert error.response.status_code == status
    assert error.response.headers["X-Error-Code"] == "GatedRepo"


def test_gated_files_are_for_those_let_in(hub: HubServer, fetch: Callable[..., bytes]) -> None:
    """Access that is granted or withdrawn counts at once."""
    assert fetch(GATED, READER) == FILES["config.json"]
    hub.tokens.withdraw("reader", GATED)
    assert refusal(GatedRepoError, lambda: api(hub, READER).auth_check(GATED)).response.status_code == 403
    hub.tokens.grant("stranger", GATED)
    api(hub, STRANGER).auth_check(GATED)


def test_a_gated_repository_is_listed_for_everybody(hub: HubServer) -> None:
    """Only the files are behind the gate; the listing says that there is one."""
    info = api(hub).model_info(GATED, files_metadata=True)
    assert info.gated == "manual"
    assert len(info.siblings or ()) == len(FILES)


@pytest.mark.parametrize("repo", [REPO, GATED, PRIVATE])
def test_a_wrong_token_is_refused_even_where_none_is_needed(hub: HubServer, repo: str) -> None:
    """401, and the client does not take it for a missing repository."""
    error = refusal(HfHubHTTPError, lambda: api(hub, MISTYPED).model_info(repo))
    assert error.response.status_code == 401
    assert error.response.headers["X-Error-Message"] == "Invalid credentials in Authorization header"


@pytest.mark.parametrize(("token", "status"), [(None, 401), (STRANGER, 404)])
def test_a_private_repository_looks_like_a_missing_one(hub: HubServer, token: str | None, status: int) -> None:
    """Both answers are the same, so that the existence of a private repository is no one's to learn."""
    hidden = refusal(RepositoryNotFoundError, lambda: api(hub, token).model_info(PRIVATE)).response
    missing = refusal(RepositoryNotFoundError, lambda: api(hub, token).model_info("acme/missing")).response
    assert hidden.status_code == missing.status_code == status
    assert hidden.headers["X-Error-Code"] == "RepoNotFound"
    assert hidden.content == missing.content


def test_a_private_repository_is_there_for_those_let_in(hub: HubServer, fetch: Callable[..., bytes]) -> None:
    """Listing and files."""
    assert api(hub, READER).model_info(PRIVATE).private is True
    assert fetch(PRIVATE, READER) == FILES["config.json"]


def test_a_missing_file_is_told_from_a_missing_repository(fetch: Callable[..., bytes], hub: HubServer) -> None:
    """404 EntryNotFound, with the commit that lacks the file."""
    error = refusal(RemoteEntryNotFoundError, lambda: fetch(REPO, file="pytorch_model.bin"))
    assert error.response.status_code == 404
    assert error.response.headers["X-Repo-Commit"] == hub.repos[REPO].refs["main"]


def test_a_revoked_token_is_a_wrong_one(hub: HubServer) -> None:
    """Who asks is told while the token holds, and nothing afterwards."""
    assert api(hub, READER).whoami()["name"] == "reader"
    hub.tokens.revoke(READER)
    assert refusal(HfHubHTTPError, api(hub, READER).whoami).response.status_code == 401


def test_the_journal_tells_whose_token_was_sent_and_not_which(hub: HubServer) -> None:
    """Tests print the journal when they fail."""
    api(hub, READER).model_info(PRIVATE)
    refusal(HfHubHTTPError, lambda: api(hub, MISTYPED).model_info(REPO))
    assert [(request.token_given, request.account) for request in hub.requests] == [(True, "reader"), (True, None)]
    assert READER not in repr(hub.requests)
    assert MISTYPED not in repr(hub.requests)


def test_a_dataset_and_a_space_are_found_under_their_kind_alone(hub: HubServer) -> None:
    """Their names are no models' names, as on the true Hub."""
    hub.add_other("dataset", "acme/words")
    hub.add_other("space", "acme/demo")
    assert api(hub).dataset_info("acme/words").id == "acme/words"
    assert api(hub).space_info("acme/demo").id == "acme/demo"
    for ask in (api(hub).model_info, api(hub).space_info):
        refusal(RepositoryNotFoundError, lambda ask=ask: ask("acme/words"))


def test_a_limit_of_requests_is_read_as_the_true_client_reads_it(hub: HubServer) -> None:
    """It says when it is asked again; so does ours."""
    hub.fault("error", status=429, headers={"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"api";q=500;w=300'})
    error = refusal(HfHubHTTPError, lambda: api(hub).model_info(REPO))
    assert "Retry after 55 seconds" in str(error)
    assert patience(error.response.headers) == 55
