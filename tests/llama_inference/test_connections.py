"""Callers that dribble, fall silent, half close, never read, or speak no HTTP: each connection comes to its end."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from llama_inference.backends.mock import TEXT
from tests.llama_inference.harness import LOADING_S, PATIENCE_S, PacedBackend, Served, eventually, serve_mock

pytestmark = pytest.mark.slow  # real servers

HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def impatient() -> Iterator[Served]:
    """A ready server that waits a second for a request."""
    server, _ = serve_mock(request_seconds=1.0)
    with server as served:
        yield served.ready()


def connect(served: Served) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", served.port), PATIENCE_S)


def request(**body: Any) -> bytes:
    """A whole predict request."""
    content = json.dumps({"prompt": "x", **body}).encode()
    return HEAD + b"content-length: %d\r\n\r\n%b" % (len(content), content)


def rest(connection: socket.socket) -> bytes:
    """What comes until the end of the connection."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


def one(connection: socket.socket) -> bytes:
    """One answer that tells its length."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    (length,) = [
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    ]
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def dribble(connection: socket.socket, data: bytes) -> bytes:
    """Send a byte every twentieth of a second until there is an answer; return all of it."""
    connection.settimeout(0.05)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            piece = connection.recv(65536)
        except TimeoutError:
            continue
        connection.settimeout(PATIENCE_S)
        return piece + (rest(connection) if piece else b"")
    raise AssertionError("the server took all of it")


def failure(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer that is not a success."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    found = json.loads(body)
    assert (found["status"], found["data"]) == ("error", None)
    assert found["message"]
    return int(head.split()[1]), found["error"]["code"]


@pytest.mark.parametrize(
    "start", [b"", HEAD + b"content-length: 1000\r\n\r\n", HEAD + b"transfer-encoding: chunked\r\n\r\n3e8\r\n"]
)
def test_a_request_that_is_dribbled_is_answered_408(impatient: Served, start: bytes) -> None:
    """In its head and in its body, whatever its declared length."""
    with connect(impatient) as connection:
        connection.sendall(start)
        assert failure(dribble(connection, HEAD * 5)) == (408, "request_timeout")
    assert impatient.predict({"prompt": "x", "max_new_tokens": 4}).status_code == 200


def test_the_time_counts_anew_for_each_request_of_a_connection(impatient: Served) -> None:
    """A kept connection may rest longer than a request may take."""
    with connect(impatient) as connection:
        for _ in range(2):
            connection.sendall(request(max_new_tokens=4))
            assert one(connection).startswith(b"HTTP/1.1 200 ")
            connection.settimeout(1.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(PATIENCE_S)
        assert failure(dribble(connection, HEAD)) == (408, "request_timeout")


def test_a_connection_that_asks_nothing_is_closed(impatient: Served) -> None:
    """Without a word."""
    with connect(impatient) as connection:
        assert rest(connection) == b""


def test_a_body_that_nobody_reads_may_not_be_dribbled_either(impatient: Served) -> None:
    """The answer came early, for another reason; the connection ends all the same."""
    with connect(impatient) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        assert failure(one(connection)) == (415, "unsupported_media_type")
        assert dribble(connection, b"x" * 1000) == b""


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    """Eight megabytes fit no buffer on the way: the rest is never sent."""
    body = {"prompt": ["y" * 4000] * 128, "max_new_tokens": 4001, "num_beams": 16, "num_return_sequences": 16}
    server, _ = serve_mock(unread_seconds=0.2)
    with server as served, connect(served.ready()) as connection:
        connection.sendall(request(**body, return_full_text=True))
        finished = {"finished_reason": "length", "backend": "mock"}
        eventually(lambda: served.metric("request_success_total", **finished) >= 2048, "the end", LOADING_S)
        eventually(lambda: not served.connections, "the connection being given up", LOADING_S)
        assert len(rest(connection)) < 2048 * 4000


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_has_closed_its_sending_side_gets_its_answer(
    paced: tuple[Served, PacedBackend], stream: bool
) -> None:
    """As `nc` does at the end of its input; whole, and as a stream from its middle on."""
    served, backend = paced
    with connect(served) as connection:
        connection.sendall(request(max_new_tokens=6, stream=stream, num_beams=1))
        served.waits_for(running=1, waiting=0)
        begun = b""
        if stream:
            backend.gate.let(2)
            while b'"text":"' + TEXT[1].encode() not in begun:
                begun += connection.recv(65536)
        connection.shutdown(socket.SHUT_WR)
        probe = b"\r\n:\n\n\r\n" if stream else b"HTTP/1.1 102 "
        while probe not in begun:
            begun += connection.recv(65536)
        assert served.metric("num_requests_running") == 1
        backend.gate.open()
        answer = begun + rest(connection)
    assert b"HTTP/1.1 200 OK" in answer
    if stream:
        assert b"data: [DONE]" in answer
    else:
        assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["data"] == [TEXT[:5]]


def test_a_half_closed_caller_that_goes_later_is_noticed(paced: tuple[Served, PacedBackend]) -> None:
    """Its place is free within seconds, though nothing is sent to it."""
    served, backend = paced
    before = served.hung_up
    with connect(served) as connection:
        connection.sendall(request(max_new_tokens=4000))
        served.waits_for(running=1, waiting=0)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 102 ")
    served.hang_up_is_noticed(before)
    backend.gate.let(1)
    served.waits_for(running=0, waiting=0)


def test_requests_sent_at_once_are_all_answered(impatient: Served) -> None:
    """Pipelined, and then the sending side is closed."""
    with connect(impatient) as connection:
        connection.sendall(request(max_new_tokens=4) * 3)
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection).count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000,
    ],
    ids=["TLS", "no host", "bytes in the path", "negative length", "two lengths", "no chunk", "endless head"],
)
def test_what_is_no_http_gets_the_contracts_error(impatient: Served, data: bytes) -> None:
    """And not a page of the web server's."""
    with connect(impatient) as connection:
        connection.sendall(data)
        assert failure(rest(connection)) == (400, "invalid_http")


@pytest.mark.parametrize(("path", "shape"), [("/predict", "message"), ("/v1/completions", "error")])
def test_a_request_with_two_lengths_is_refused_and_nothing_behind_it_is_read(
    impatient: Served, path: str, shape: str
) -> None:
    """Whoever stands in front may have believed the other one (RFC 9112, section 6.1)."""
    body = b'{"prompt": "x", "max_new_tokens": 4}'
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" % path.encode()
    for lengths in (
        b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n" % len(chunked),
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
    ):
        with connect(impatient) as connection:
            connection.sendall(head + lengths + chunked + b"GET /info HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = rest(connection)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer.lower()
        assert b"both Content-Length and Transfer-Encoding" in answer
        assert list(json.loads(answer.rpartition(b"\r\n\r\n")[2])).count(shape) == 1


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://llama.example/healthz", 200),
        (b"HTTPS://llama.example:8443/healthz?verbose=1", 200),
        (b"http://llama.example", 404),
        (b"http://llama.example?x", 404),
    ],
)
def test_a_whole_address_as_the_target_is_its_path(impatient: Served, target: bytes, status: int) -> None:
    """What `curl -x` and some proxies send (RFC 9112, section 3.2.2)."""
    with connect(impatient) as connection:
        connection.sendall(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
        answer = one(connection)
        assert int(answer.split()[1]) == status
        assert status == 200 or b"there is nothing at /;" in answer
        connection.sendall(request(max_new_tokens=4))
        assert one(connection).startswith(b"HTTP/1.1 200 ")


def test_an_upload_that_is_refused_ends_its_connection(impatient: Served) -> None:
    """At once for who listens; who sends on first finds the answer all the same, and the connection closed."""
    with connect(impatient) as connection:
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % (300 << 20))
        answer = one(connection)
        assert failure(answer) == (413, "body_too_large")
        assert b"connection: close" in answer.lower()
    with connect(impatient) as connection:
        connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
        for _ in range(24):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
        assert failure(rest(connection)) == (413, "body_too_large")


def test_an_answer_before_an_endless_body_ends_its_connection(impatient: Served) -> None:
    """Whatever it says: nobody knows how much is still to come."""
    with connect(impatient) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        answer = one(connection)
        assert failure(answer) == (404, "not_found")
        assert b"connection: close" in answer.lower()
        connection.sendall(b"0\r\n\r\n")
        assert rest(connection) == b""
