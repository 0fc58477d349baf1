"""A server with a playground, and its page open in Debian's Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.llama_inference.harness import Gate, PacedBackend, Served, serve_mock
from tests.support import chromium

# Of a request that is meant to fail, the browser writes this by itself.
EXPECTED = "Failed to load resource: the server responded with a status of 4"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module: while it is there, an event loop runs in which no other test can."""
    expect.set_options(timeout=30_000)  # a browser on a busy machine
    with chromium.browser() as found:
        yield found


@pytest.fixture(scope="module")
def _playground() -> Iterator[tuple[Served, PacedBackend]]:
    server, backend = serve_mock(Gate(), playground=True, generation_maximums={"top_k": 50})
    with server as served:
        yield served.ready(), backend


@pytest.fixture
def playground(_playground: tuple[Served, PacedBackend]) -> Iterator[tuple[Served, Gate]]:
    """A ready server with the page, whose steps the test lets pass; idle at the end."""
    served, backend = _playground
    backend.begin_anew()
    yield served, backend.gate
    backend.gate.open()
    served.waits_for(running=0, waiting=0)


class Opened:
    """Opens pages, and watches that they speak to their own server only and that the browser has no complaint."""

    def __init__(self, browser: Browser) -> None:
        self.context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def page(self, served: Served) -> Page:
        """The page of a server, its form described."""
        page = self.context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(self.address(served))
        return page

    def address(self, served: Served) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{served.port}/"

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            self.complaints.append(message.text)


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Pages of a fresh profile; whatever the browser complains of fails the test."""
    opened = Opened(browser)
    yield opened
    opened.context.close()
    assert opened.complaints == []


@pytest.fixture
def page(opened: Opened, playground: tuple[Served, Gate]) -> Page:
    """The page, ready to be filled in."""
    page = opened.page(playground[0])
    page.locator("#parameter-top_k").wait_for()
    return page
