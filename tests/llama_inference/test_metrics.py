"""Metrics: each stands in the documentation with its type and labels, and busy time is measured as it passes."""

import re

import pytest
from prometheus_client import Metric

from llama_inference.metrics import PREFIX, BusyTime, Metrics
from tools.generate import ROOT

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|(.*?)\|", re.MULTILINE)


def documented() -> dict[str, tuple[str, list[str]]]:
    """Name → type and labels, as docs/metrics.md has them."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    return {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in ROW.findall(text)}


def shown(family: Metric) -> str:
    """A metric's name as a scrape shows it, without the prefix."""
    name = family.name.removeprefix(f"{PREFIX}_")
    return f"{name}_total" if family.type == "counter" else name


def test_every_metric_stands_in_the_documentation() -> None:
    """And nothing else does; with its type."""
    families = [family for family in Metrics().registry.collect() if family.name.startswith(PREFIX)]
    assert {shown(family): family.type for family in families} == {name: row[0] for name, row in documented().items()}


@pytest.mark.parametrize("name", [name for name, (_, labels) in documented().items() if labels])
def test_the_documented_labels_are_the_metrics(name: str) -> None:
    """In their order."""
    metrics = Metrics()
    found = [
        metric
        for metric in vars(metrics).values()
        if getattr(metric, "_name", "") == f"{PREFIX}_{name.removesuffix('_total')}"
    ]
    assert [list(metric._labelnames) for metric in found] == [documented()[name][1]]


def test_busy_time_grows_only_while_something_runs() -> None:
    """The present stretch counts, and however often it is said that something runs, no second counts twice."""
    now = 10.0
    busy = BusyTime("busy", "text", clock=lambda: now)
    assert busy.seconds == 0
    busy.note(busy=True)
    now = 12.0
    assert busy.seconds == 2
    busy.note(busy=True)
    now = 13.0
    busy.note(busy=False)
    now = 20.0
    assert busy.seconds == 3
    busy.note(busy=True)
    now = 21.0
    (family,) = busy.collect()
    assert [(sample.name, sample.value) for sample in family.samples] == [("busy_total", 4.0)]
