"""Byte ranges as HTTP writes them."""

import pytest

from tests.support.hub.wire import Request, read_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-30", (70, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=0-1,5-6", None),
    ],
)
def test_a_range_is_read(header: str | None, wanted: tuple[int, int] | None) -> None:
    """Of a file of 100 bytes; what is not understood means the whole file."""
    assert read_range(header, 100) == wanted


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=7-3"])
def test_a_range_outside_the_file_is_empty(header: str) -> None:
    """Its start is not before its stop."""
    wanted = read_range(header, 100)
    assert wanted is not None
    assert wanted[0] >= wanted[1]


def test_headers_are_found_however_they_are_written() -> None:
    """Clients write `Range` and `range`."""
    assert Request.read("GET", "/a", {"RanGe": "bytes=1-"}, b"").headers["range"] == "bytes=1-"


def test_a_quoted_slash_stays_within_its_segment() -> None:
    """A revision such as refs/pr/1 is one segment."""
    assert Request.read("GET", "/a/resolve/refs%2Fpr%2F1/b?c=true", {}, b"").parts == ("a", "resolve", "refs/pr/1", "b")
