"""Compressed bodies are read within the limit, and refused with what is wrong where they cannot be."""

import gzip
import json
import tracemalloc
import zlib

import pytest

from llama_inference.errors import BodyTooLargeError, InvalidRequestError
from llama_inference.middleware.inflate import Inflated
from tests.llama_inference.harness import JSON, Served, errors

pytestmark = pytest.mark.slow  # bodies of megabytes, and a server

BODY = json.dumps({"prompt": "x", "max_new_tokens": 4}).encode()
LIMIT = 100_000
RAW = zlib.compressobj(wbits=-15)
COMPRESSED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": ("x-gzip", gzip.compress(BODY)),
    "GZIP": ("GZIP", gzip.compress(BODY)),
    "two members": ("gzip", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])),
    "deflate": ("deflate", zlib.compress(BODY)),
    "deflate without its header": ("deflate", RAW.compress(BODY) + RAW.flush()),
    "identity": ("identity", BODY),
}


def ask(served: Served, encoding: str, body: bytes) -> tuple[int, str, str | None, str]:
    """How a body with this encoding is refused."""
    return errors(served.client.post("/predict", content=body, headers={**JSON, "content-encoding": encoding}))


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED.values(), ids=COMPRESSED)
def test_a_compressed_body_is_read(served: Served, encoding: str, body: bytes) -> None:
    """As if it had been sent plain."""
    answer = served.client.post("/predict", content=body, headers={**JSON, "content-encoding": encoding})
    assert (answer.status_code, answer.json()["usage"]["completion_tokens"]) == (200, 3)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "none"])
def test_another_encoding_is_answered_415_with_those_that_there_are(served: Served, encoding: str) -> None:
    """In words, and in the header for programs (RFC 9110, section 15.5.16)."""
    status, code, param, message = ask(served, encoding, BODY)
    assert (status, code, param) == (415, "unsupported_media_type", "Content-Encoding")
    assert "gzip or deflate" in message
    answer = served.client.post("/predict", content=BODY, headers={**JSON, "content-encoding": encoding})
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("gzip", BODY, "damaged"),
        ("gzip", gzip.compress(BODY)[:-4], "ends too early"),
        ("gzip", gzip.compress(BODY)[:-8] + bytes(8), "damaged"),
        ("deflate", gzip.compress(BODY), "damaged"),
        ("deflate", zlib.compress(BODY) + b"x", "something follows it"),
    ],
    ids=["plain", "cut", "other check", "gzip as deflate", "more behind"],
)
def test_a_damaged_body_is_answered_400(served: Served, encoding: str, body: bytes, words: str) -> None:
    """It is no fault of the JSON in it."""
    status, code, param, message = ask(served, encoding, body)
    assert (status, code, param) == (400, "invalid_encoding", "Content-Encoding")
    assert words in message


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_answered_413(served: Served, encoding: str) -> None:
    """Its own length is within the limit."""
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    bomb = compress(b" " * (1 << 26))
    assert len(bomb) < LIMIT
    status, code, _, message = ask(served, encoding, bomb)
    assert (status, code) == (413, "body_too_large")
    assert str(LIMIT) in message


def test_a_body_is_inflated_no_further_than_the_limit() -> None:
    """A bomb costs what the limit allows; what fits exactly is read."""
    bomb = gzip.compress(b" " * (1 << 26))
    tracemalloc.start()
    with pytest.raises(BodyTooLargeError):
        Inflated("gzip", LIMIT).take(bomb, last=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * LIMIT
    exact = gzip.compress(b" " * LIMIT)
    body = Inflated("gzip", LIMIT)
    assert b"".join(body.take(bytes([byte]), last=False) for byte in exact) + body.take(b"", last=True) == b" " * LIMIT


def test_joined_members_share_one_limit() -> None:
    """A body of many small bombs is one bomb."""
    body = Inflated("gzip", LIMIT)
    with pytest.raises(BodyTooLargeError):
        body.take(gzip.compress(b" " * (LIMIT // 4)) * 5, last=True)
    with pytest.raises(InvalidRequestError, match="ends too early"):
        Inflated("gzip", LIMIT).take(b"\x1f\x8b", last=True)
