"""Debian's Chromium, for tests of pages; installed when it is not there."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from devcluster import packages

# The font makes text visible: a bare machine has none.
NEEDS: Final = {"chromium": "chromium", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core"}
NEEDS_OF_CURL: Final = {"curl": "curl"}


@contextmanager
def browser() -> Generator[Browser]:
    """A headless browser."""
    ensure()
    with sync_playwright() as playwright:
        # Without its sandbox, which root may not have: it sees nothing but this test's own pages.
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def ensure() -> None:
    """Install what is missing.

    Raises:
        DevclusterError: this is no Debian or Ubuntu, or not root.
    """
    if lacking := packages.missing({**NEEDS, **NEEDS_OF_CURL}):
        packages.install(lacking)
