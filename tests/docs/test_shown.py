"""The table of docs/shown.md names tests that there are, so that each promise can be run by its name."""

import re

import pytest

from tools.generate import ROOT

ROWS = re.findall(r"^\| (.+?) \| `(tests/\S+\.py)::(\w+)` \|$", (ROOT / "docs" / "shown.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("promise", "path", "name"), ROWS, ids=[name for _, _, name in ROWS])
def test_each_promise_has_its_test(promise: str, path: str, name: str) -> None:
    """By its name, on the cluster."""
    text = (ROOT / path).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), promise
    assert "pytest.mark.cluster" in text, f"{path} is not marked as a test on the cluster"


def test_the_whole_table_is_read() -> None:
    """A row that is written otherwise would go unchecked, and a line in between would end the table for its readers."""
    _, _, table = (ROOT / "docs" / "shown.md").read_text().partition("|---|---|\n")
    assert len(ROWS) == len(table.splitlines())
