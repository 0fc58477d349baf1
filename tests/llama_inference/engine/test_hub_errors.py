"""What the disk and the network say, as a reason and what to do."""

import errno

import httpx2
import pytest

from llama_inference.engine.hub_errors import Place, explain
from llama_inference.errors import LoadReason

PLACE = Place("http://hub", "a/b", "main", token_path=None, had_token=False)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), LoadReason.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), LoadReason.DISK_FULL),
        (OSError(errno.EROFS, "Read-only file system"), LoadReason.LOAD_FAILED),
        (PermissionError(errno.EACCES, "Permission denied"), LoadReason.LOAD_FAILED),
        (httpx2.ConnectError("refused"), LoadReason.HUB_UNREACHABLE),
        (httpx2.ConnectTimeout("slow"), LoadReason.HUB_UNREACHABLE),
        (httpx2.ProxyError("no"), LoadReason.HUB_UNREACHABLE),
        (httpx2.ReadTimeout("slow"), LoadReason.DOWNLOAD_INTERRUPTED),
        (httpx2.ReadError("reset"), LoadReason.DOWNLOAD_INTERRUPTED),
        (httpx2.RemoteProtocolError("cut"), LoadReason.DOWNLOAD_INTERRUPTED),
    ],
)
def test_a_fault_of_disk_or_network_has_its_reason(error: Exception, reason: LoadReason) -> None:
    """And is tried again, not the end of the process."""
    explained = explain(error, PLACE)
    assert explained is not None
    assert explained.reason is reason


def test_a_bug_is_not_explained_away() -> None:
    """What is no fault of disk or network stays what it is."""
    assert explain(KeyError("x"), PLACE) is None
