"""Bodies above the limit are refused, whether their length is declared or not."""

from collections.abc import Iterator

from tests.llama_inference.harness import JSON, Served, errors

LIMIT = 100_000


def test_a_declared_length_above_the_limit_is_answered_413(served: Served) -> None:
    """The message names the limit."""
    status, code, _, message = errors(served.client.post("/predict", content=b" " * (LIMIT + 1), headers=JSON))
    assert (status, code) == (413, "body_too_large")
    assert str(LIMIT) in message


def test_an_undeclared_length_above_the_limit_is_answered_413(served: Served) -> None:
    """A chunked body is counted while it arrives."""

    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b" " * (LIMIT // 10)

    assert errors(served.client.post("/predict", content=chunks(), headers=JSON))[:2] == (413, "body_too_large")


def test_a_body_of_the_limit_itself_is_read(served: Served) -> None:
    """The limit is the largest length that is allowed."""
    body = b'{"prompt": "x"}'.ljust(LIMIT)
    assert served.client.post("/predict", content=body, headers=JSON).status_code == 200
