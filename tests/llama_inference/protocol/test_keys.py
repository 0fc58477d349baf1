"""API keys: what a caller may present, and what it is told."""

import pytest

from llama_inference.errors import ForbiddenError, RequestError, UnauthorizedError
from llama_inference.protocol import keys
from llama_inference.protocol.keys import Keys

KEYS = Keys.parse({"alice": b"  key-of-alice\n", "bob": b"key-of-bob", "empty": b" \n"})


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"Api-Key key-of-alice", "alice"),
        (b"Bearer key-of-alice", "alice"),
        (b"api-key key-of-bob", "bob"),
        (b"BEARER  key-of-bob ", "bob"),
    ],
)
def test_a_key_is_known_by_its_name(header: bytes, name: str) -> None:
    """Under both schemes, in any case; the white space around a key is no part of it."""
    assert KEYS.check(header) == name


@pytest.mark.parametrize("header", [None, b"", b"Api-Key", b"Bearer  ", b"Basic key-of-alice", b"key-of-alice"])
def test_a_request_without_a_key_is_told_how_to_send_one(header: bytes | None) -> None:
    """A scheme alone, a bare key and another scheme are none."""
    with pytest.raises(UnauthorizedError, match="Authorization: Api-Key KEY") as caught:
        KEYS.check(header)
    assert (caught.value.status, caught.value.param) == (401, "Authorization")
    assert "Api-Key" in caught.value.headers["www-authenticate"]


@pytest.mark.parametrize("header", [b"Bearer key-of-carol", b"Bearer key-of-alic", b"Bearer key-of-alice key-of-bob"])
def test_a_wrong_key_is_refused(header: bytes) -> None:
    """So are a part of a key, and two in one."""
    with pytest.raises(ForbiddenError, match="none of the 2") as caught:
        KEYS.check(header)
    assert caught.value.status == 403


def test_an_empty_file_is_no_key() -> None:
    """Or whoever presents nothing would be let in."""
    assert len(Keys.parse({"a": b"", "b": b"\n"})) == 0
    assert Keys.parse({"a": b""}).name_of(b"") is None


def test_every_key_is_compared_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """In constant time, and the first hit does not end the search: time tells nothing."""
    compared: list[int] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(len(left))
        return left == right

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    assert KEYS.name_of(b"key-of-alice") == "alice"
    assert compared == [32, 32]


def test_no_key_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither by the keys themselves nor by an error."""
    assert "key-of" not in repr(KEYS)
    with pytest.raises(RequestError) as caught:
        KEYS.check(b"Bearer key-of-carol")
    assert "key-of" not in str(caught.value)
