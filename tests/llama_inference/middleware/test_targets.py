"""HEAD wherever GET is, and slashes too many in a path."""

import pytest

from llama_inference.middleware.targets import plain
from tests.llama_inference.harness import Served, eventually

GETS = (
    "/healthz",
    "/readyz",
    "/startupz",
    "/metrics",
    "/info",
    "/docs",
    "/openapi.json",
    "/v1/models",
    "/v1/models/tiny",
)


@pytest.mark.parametrize("path", GETS)
def test_head_is_answered_wherever_get_is(served: Served, path: str) -> None:
    """With the status and the headers of a GET, without its body; the connection goes on."""
    asked, told = served.client.get(path), served.client.head(path)
    assert (told.status_code, told.content) == (200, b"")
    assert told.headers["content-type"] == asked.headers["content-type"]
    if path != "/metrics":  # its length changes with each request
        assert told.headers["content-length"] == asked.headers["content-length"]


def test_a_head_is_counted_as_what_it_is(served: Served) -> None:
    """By metrics and log, which stand outside."""
    before = served.metric("http_requests_total", route="/info", method="HEAD", status="200")
    served.client.head("/info")
    eventually(lambda: served.metric("http_requests_total", route="/info", method="HEAD", status="200") == before + 1)


def test_head_elsewhere_is_refused_as_get_is(served: Served) -> None:
    """With the methods that there are."""
    answer = served.client.head("/predict")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")
    assert served.client.head("/nowhere").status_code == 404
    assert served.client.post("/info").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    ["/predict/", "//predict", "/v1/models/tiny:predict/", "/v1//models/tiny/predict", "//v1/models/tiny/predict//"],
)
def test_a_slash_too_many_does_no_harm(served: Served, path: str) -> None:
    """However a client joins its base address with a path."""
    answer = served.client.post(f"http://127.0.0.1:{served.port}{path}", json={"prompt": "x", "max_new_tokens": 4})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/v1/completions/", "//v1/completions", "/v1//completions", "/v1/completions//"])
def test_openais_routes_are_found_with_a_slash_too_many(served: Served, path: str) -> None:
    """Errors there keep their shape, too."""
    address = f"http://127.0.0.1:{served.port}{path}"
    assert served.client.post(address, json={"model": "tiny", "prompt": "x"}).status_code == 200
    assert set(served.client.post(address, json={"prompt": "x"}).json()) == {"error"}
    assert served.client.get(f"http://127.0.0.1:{served.port}/v1/models/").json()["object"] == "list"


def test_a_path_has_no_empty_parts() -> None:
    """The root is a path of its own."""
    assert [plain(path) for path in ("/", "//", "", "/a/", "//a//b", "/a/b")] == ["/", "/", "/", "/a", "/a/b", "/a/b"]
