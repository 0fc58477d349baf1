"""Pages of other origins: none may call, unless a setting names theirs."""

from collections.abc import Iterator

import pytest

from tests.llama_inference.harness import Served, errors, serve_mock

PAGE = "https://app.example.com"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


@pytest.fixture(scope="module")
def open_to_pages() -> Iterator[Served]:
    """A ready server that pages of one origin may call."""
    server, _ = serve_mock(cors_origins=[PAGE])
    with server as served:
        yield served.ready()


def test_a_page_of_another_origin_is_told_how_it_might_call(served: Served) -> None:
    """By default no browser lets it."""
    answer = served.client.options("/v1/chat/completions", headers=PREFLIGHT)
    assert answer.status_code == 405
    assert "LLAMA_INFERENCE_CORS_ORIGINS" in answer.json()["error"]["message"]
    assert "access-control-allow-origin" not in served.client.get("/info", headers={"origin": PAGE}).headers


@pytest.mark.parametrize("path", ["/predict", "/v1/chat/completions"])
def test_pages_of_a_named_origin_may_call(open_to_pages: Served, path: str) -> None:
    """With a key and JSON; answers and errors may be read, and those headers that say when to come again."""
    answer = open_to_pages.client.options(path, headers=PREFLIGHT)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    for body in ({"model": "tiny"}, {"prompt": "x"}):
        answer = open_to_pages.client.post(path, json=body, headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "retry-after" in answer.headers["access-control-expose-headers"]


def test_pages_of_others_may_not(open_to_pages: Served) -> None:
    """Theirs alone was named."""
    headers = {**PREFLIGHT, "origin": "https://elsewhere.example.com"}
    answer = open_to_pages.client.options("/predict", headers=headers)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    assert errors(open_to_pages.client.post("/predict", json={}, headers={"origin": "https://x"}))[0] == 400
