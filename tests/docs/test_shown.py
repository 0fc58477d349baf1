"""The tables of docs/shown.md name tests that there are, so that each promise can be run by its name."""

import re
from typing import Final

import pytest

from tools.generate import ROOT

PAGE: Final = (ROOT / "docs" / "shown.md").read_text()
ROW: Final = re.compile(r"^\| (.+?) \| `(tests/\S+\.py)::(\w+)` \|$", re.MULTILINE)
ROWS: Final = ROW.findall(PAGE)
ON_THE_CLUSTER: Final = ROW.findall(PAGE.partition("\n## ")[0])


@pytest.mark.parametrize(
    ("promise", "path", "name"), ROWS, ids=[f"{place}-{name}" for place, (*_, name) in enumerate(ROWS)]
)
def test_each_promise_has_its_test(promise: str, path: str, name: str) -> None:
    """By its name; in the first table, on the cluster."""
    text = (ROOT / path).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), promise
    on_the_cluster = (promise, path, name) in ON_THE_CLUSTER
    assert not on_the_cluster or "pytest.mark.cluster" in text, f"{path} is not marked as a test on the cluster"


def test_the_whole_table_is_read() -> None:
    """A row that is written otherwise would go unchecked, and a line in between would end the table for its readers."""
    tables = [table.partition("\n\n")[0] for table in PAGE.split("|---|---|\n")[1:]]
    assert len(ROWS) == sum(len(table.splitlines()) for table in tables)
