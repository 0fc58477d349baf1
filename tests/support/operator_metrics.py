"""The operator's metrics: name to kind, as docs/operating.md lists them and as a process exposes them; and values."""

import re

from prometheus_client.parser import text_string_to_metric_families

from llama_operator.handlers.metrics import PREFIX
from tools.generate import ROOT


def documented() -> dict[str, str]:
    """Read the table of the page."""
    page = (ROOT / "docs" / "operating.md").read_text()
    return dict(re.findall(rf"^\| `({PREFIX}_\w+)` \| (\w+) \|", page, re.MULTILINE))


def exposed(text: str) -> dict[str, str]:
    """Read what a process exposes, without what the libraries add."""
    # The client says of each series when it began, under names of their own.
    families = [
        family
        for family in text_string_to_metric_families(text)
        if family.name.startswith(PREFIX) and not family.name.endswith("_created")
    ]
    return {f"{row.name}_total" if row.type == "counter" else row.name: row.type for row in families}


def value(text: str, name: str, /, **labels: str) -> float | None:
    """Read one series of what a process exposes; None if it is not there."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return next((row.value for row in samples if (row.name, row.labels) == (name, labels)), None)
