"""The server as a process among others: started, stopped, cut off in the middle."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub.utils import get_session

from tests.hub.conftest import FILES, REPO, WEIGHTS
from tests.support.hub import HubServer, RemoteHub

pytestmark = pytest.mark.slow  # real servers, real transfers

PACKAGE = Path(__file__).parents[1] / "support" / "hub"
MODEL = f"/{REPO}/resolve/main/model.safetensors"


def get(url: str, **headers: str) -> httpx2.Response:
    """Ask for a page."""
    return get_session().get(url, headers=headers, timeout=5)


def test_a_range_outside_the_file_is_refused(hub: HubServer) -> None:
    """416 with the size, as for a file that is complete already."""
    answer = get(hub.url + MODEL, range=f"bytes={len(WEIGHTS)}-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(WEIGHTS)}")


def test_an_unknown_page_is_named(hub: HubServer) -> None:
    """What is missing in this server is seen at once."""
    answer = get(f"{hub.url}/api/collections/acme/words")
    assert (answer.status_code, answer.json()["error"]) == (404, "the test Hub has no page /api/collections/acme/words")


def test_stopping_ends_transfers_and_threads(hub: HubServer) -> None:
    """A stalled transfer is cut, the port is closed, no thread stays."""
    before = threading.active_count()
    hub.fault("stall", after=1000)
    with get_session().stream("GET", hub.url + MODEL) as answer:
        hub.wait_for(lambda seen: seen[0].sent == 1000)
        hub.stop()
        with pytest.raises(httpx2.RemoteProtocolError):
            answer.read()
    with pytest.raises(ConnectionRefusedError), socket.create_connection((hub.host, hub.port)):
        pass
    assert threading.active_count() == before - 1


def test_a_stopped_hub_comes_back_at_its_address(hub: HubServer) -> None:
    """An outage: what it serves is what it served."""
    url = hub.url
    hub.stop()
    hub.start()
    assert hub.url == url
    assert get(url + MODEL).content == WEIGHTS


def test_a_wait_in_vain_tells_what_was_seen(hub: HubServer) -> None:
    """The message is what the developer of a test needs."""
    get(hub.url + MODEL)
    with pytest.raises(TimeoutError, match=r"file='model\.safetensors'"):
        hub.wait_for(lambda seen: len(seen) == 2, timeout_s=0.01)


@pytest.mark.parametrize("options", [{"kind": "explode"}, {"kind": "slow"}])
def test_a_fault_that_is_none_is_refused(hub: HubServer, options: dict[str, str]) -> None:
    """A test with a slip must not pass for want of the fault."""
    with pytest.raises(ValueError, match=r"no kind of fault|needs bytes_per_second"):
        RemoteHub(hub.url).fault(**options)  # pyright: ignore[reportArgumentType] - the slip is the point


@pytest.mark.parametrize("name", ["gpt2", "a/b/c", "a b/c"])
def test_a_name_that_is_none_is_refused(hub: HubServer, folder: Path, name: str) -> None:
    """The message shows the form."""
    with pytest.raises(ValueError, match="OWNER/NAME"):
        hub.add_repo(name, folder)


def test_a_folder_without_files_is_refused(hub: HubServer, tmp_path: Path) -> None:
    """An empty mount is seen before the first request."""
    with pytest.raises(ValueError, match="holds no file to serve"):
        hub.add_repo(REPO, tmp_path)


@pytest.fixture
def bare(folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`python -m hub` as in its image: no package but its own, every model of a folder."""
    (tmp_path / REPO).parent.mkdir()
    (tmp_path / REPO).symlink_to(folder)
    command = [sys.executable, "-S", "-m", "hub", "--port", "0", "--models", str(tmp_path)]
    with subprocess.Popen(command, cwd=PACKAGE.parent, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_it_runs_on_a_bare_python(bare: subprocess.Popen[str]) -> None:
    """It serves what it finds, says where, is steered from outside, and ends in order on SIGTERM."""
    assert bare.stdout is not None
    assert REPO in bare.stdout.readline()
    url = bare.stdout.readline().split()[-1]
    remote = RemoteHub(url)
    remote.fault("error", file="config.json", times=1)
    config = f"{url}/{REPO}/resolve/main/config.json"
    assert [get(config).status_code, get(config).content] == [503, FILES["config.json"]]
    assert [request.status for request in remote.requests] == [503, 200]
    bare.send_signal(signal.SIGTERM)
    assert bare.wait(5) == 0
