"""Downloads by the true client: whole, redirected, resumed, refused."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from tests.hub.conftest import FILES, REPO, WEIGHTS
from tests.support.hub import HubServer, Kind, Record

pytestmark = pytest.mark.slow  # real servers, real transfers

MODEL = "model.safetensors"


@pytest.fixture
def fetch(hub: HubServer, tmp_path: Path) -> Callable[[], bytes]:
    """Download the weights as the true client does."""
    return lambda: Path(hf_hub_download(REPO, MODEL, endpoint=hub.url, token=False, cache_dir=tmp_path)).read_bytes()


@pytest.fixture
def cdn(folder: Path) -> Iterator[HubServer]:
    """A Hub that redirects as huggingface.co does, with REPO behind a gate for one token."""
    with HubServer(cdn=True) as hub:
        hub.add_repo(REPO, folder, gated="auto")
        hub.tokens.add("hf_reader", account="reader", grants=[REPO])
        yield hub


def transfers(hub: HubServer) -> list[Record]:
    """The requests for the body of the weights."""
    return [request for request in hub.requests if request.file == MODEL and request.method == "GET"]


def contents(folder: str) -> dict[str, bytes]:
    """All files of a snapshot."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_snapshot_holds_every_file(hub: HubServer, tmp_path: Path) -> None:
    """Byte for byte, names with spaces included."""
    assert contents(snapshot_download(REPO, endpoint=hub.url, token=False, cache_dir=tmp_path)) == FILES


def test_a_redirected_snapshot_holds_every_file(cdn: HubServer, tmp_path: Path) -> None:
    """The CDN is another host: the token goes to the Hub and never there."""
    assert contents(snapshot_download(REPO, endpoint=cdn.url, token="hf_reader", cache_dir=tmp_path)) == FILES
    tokens = {request.host.partition(":")[0]: request.token_given for request in cdn.requests}
    assert tokens == {"127.0.0.1": True, "localhost": False}


def test_a_link_to_the_cdn_must_be_signed(cdn: HubServer) -> None:
    """A guessed link is refused."""
    assert get_session().get(f"{cdn.cdn_url}/_cdn/guessed").status_code == 403


@pytest.mark.parametrize(("name", "status"), [(MODEL, 302), ("config.json", 307)])
def test_a_redirect_tells_commit_hash_and_size(cdn: HubServer, name: str, status: int) -> None:
    """The client reads them from the answer to its HEAD, before it follows."""
    url = hf_hub_url(REPO, name, endpoint=cdn.url)
    metadata = get_hf_file_metadata(url, token="hf_reader", endpoint=cdn.url)
    entry = cdn.repos[REPO].entry(cdn.repos[REPO].refs["main"], name)
    assert (metadata.commit_hash, metadata.etag) == (cdn.repos[REPO].refs["main"], entry.etag)
    assert metadata.size == len(FILES[name])
    assert cdn.requests[0].status == status


def test_a_head_tells_commit_hash_and_size(hub: HubServer) -> None:
    """Without a CDN as well."""
    metadata = get_hf_file_metadata(hf_hub_url(REPO, MODEL, endpoint=hub.url), token=False, endpoint=hub.url)
    commit = hub.repos[REPO].refs["main"]
    assert metadata.etag == hub.repos[REPO].entry(commit, MODEL).sha256
    assert (metadata.commit_hash, metadata.size) == (commit, len(WEIGHTS))
    assert (hub.requests[0].method, hub.requests[0].sent) == ("HEAD", 0)


@pytest.mark.parametrize("kind", ["cut", "stall"])
def test_a_broken_transfer_is_resumed_where_it_broke(
    hub: HubServer, fetch: Callable[[], bytes], kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for the rest with a range, and puts the file together."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.fault(kind, file=MODEL, after=100_000, times=1)
    assert fetch() == WEIGHTS
    first, second = transfers(hub)
    assert (first.status, first.sent) == (200, 100_000)
    assert (second.status, second.range, second.sent) == (206, "bytes=100000-", 200_000)


def test_a_transfer_can_break_again_and_again(hub: HubServer, fetch: Callable[[], bytes]) -> None:
    """A fault counts the transfers that it hits; `after` counts from the start of each."""
    hub.fault("cut", file=MODEL, after=100_000, times=2)
    assert fetch() == WEIGHTS
    assert [request.range for request in transfers(hub)] == [None, "bytes=100000-", "bytes=200000-"]
    assert hub.faults.in_force() == []


def test_a_reset_connection_is_an_error_of_the_network(hub: HubServer, fetch: Callable[[], bytes]) -> None:
    """The client does not resume after a TCP reset; it raises."""
    hub.fault("reset", file=MODEL, after=100_000)
    with pytest.raises(httpx2.ReadError):
        fetch()


def test_a_server_that_ignores_ranges_sends_the_whole_file(hub: HubServer, fetch: Callable[[], bytes]) -> None:
    """200 instead of 206: the client begins again."""
    hub.fault("cut", file=MODEL, after=100_000, times=1)
    hub.fault("ignore_range", file=MODEL)
    assert fetch() == WEIGHTS
    second = transfers(hub)[1]
    assert (second.status, second.range, second.sent) == (200, "bytes=100000-", len(WEIGHTS))


def test_a_slow_transfer_can_be_watched_and_let_go(hub: HubServer, fetch: Callable[[], bytes]) -> None:
    """At 1 kB/s this file takes five minutes; it is done at once when the fault is cleared."""
    hub.fault("slow", file=MODEL, bytes_per_second=1000)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(fetch()))
    thread.start()
    hub.wait_for(lambda seen: any(0 < request.sent < 10_000 for request in seen if request.file == MODEL))
    assert got == []
    hub.clear_faults()
    thread.join(10)
    assert got == [WEIGHTS]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_outage_is_an_error_with_its_status(hub: HubServer, status: int) -> None:
    """And it is over when the fault is cleared."""
    api = HfApi(endpoint=hub.url, token=False)
    hub.fault("error", repo="acme/*", status=status)
    with pytest.raises(HfHubHTTPError) as caught:
        api.model_info(REPO)
    assert caught.value.response.status_code == status
    hub.clear_faults()
    assert api.model_info(REPO).id == REPO


def test_a_hub_that_hangs_sends_not_even_a_status(hub: HubServer) -> None:
    """The client gives up after its own timeout, and the server notices."""
    hub.fault("hang", repo=REPO)
    with pytest.raises(httpx2.ReadTimeout):
        HfApi(endpoint=hub.url, token=False).model_info(REPO, timeout=0.1)
    [request] = hub.wait_for(lambda seen: seen and seen[0].finished)
    assert request.status is None


def test_a_fault_waits_for_the_transfer_that_it_concerns(cdn: HubServer, tmp_path: Path) -> None:
    """Neither other files, nor a refusal, nor a redirect use it up."""
    cdn.fault("cut", file=MODEL, after=1000, times=1)
    url, token = hf_hub_url(REPO, MODEL, endpoint=cdn.url), {"Authorization": "Bearer hf_reader"}
    assert get_session().get(url).status_code == 401
    assert get_session().get(url, headers=token, follow_redirects=False).status_code == 302
    cdn.journal.clear()
    snapshot_download(REPO, endpoint=cdn.url, token="hf_reader", cache_dir=tmp_path)
    assert [(request.host.partition(":")[0], request.sent) for request in transfers(cdn)] == [
        ("localhost", 1000),
        ("localhost", len(WEIGHTS) - 1000),
    ]
