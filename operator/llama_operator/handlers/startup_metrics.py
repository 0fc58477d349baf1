"""Start-ups as metrics: how long each stage takes, and how far those that are under way have come.

What is over is counted by stage alone; a LlamaDeployment is named only while it starts.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llama_operator.plan.observed import Key, Object

_BUCKETS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
_LABELS: Final = ("namespace", "name", "stage")
_UNDER_WAY: Final[Mapping[str, tuple[str, str]]] = {
    "bytes": ("bytesDone", "Bytes that are there, of a stage under way."),
    "bytes_wanted": ("bytesTotal", "Bytes that a stage under way wants in all."),
    "eta_seconds": ("etaSeconds", "Estimated seconds left of a stage under way."),
}


class StartupMetrics(Collector):
    """Start-ups of all LlamaDeployments."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        """Register under names that begin with `prefix`."""
        self._prefix = prefix
        self._under_way: dict[Key, Object] = {}
        self._stages = Histogram(
            f"{prefix}_startup_stage_seconds",
            "Time of one stage of a start-up that has ended in readiness.",
            ("stage",),
            registry=registry,
            buckets=_BUCKETS,
        )
        self._whole = Histogram(
            f"{prefix}_startup_seconds",
            "From a pod's creation to its first readiness.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self._bytes = Counter(
            f"{prefix}_startup_bytes", "Bytes moved by stages of ended start-ups.", ("stage",), registry=registry
        )
        registry.register(self)

    def saw(self, key: Key, before: Object | None, after: Object | None) -> None:
        """Take up a change from one status to the next; None for one that is gone."""
        was, now = _startup(before), _startup(after)
        if now is None or now.get("seconds") is not None:
            self._under_way.pop(key, None)
        else:
            self._under_way[key] = now
        # Told by the status alone: an operator that starts anew counts nothing twice.
        if now is not None and was is not None and was.get("seconds") is None and now.get("seconds") is not None:
            self._count(now)

    def keep(self, keys: Collection[Key]) -> None:
        """Forget all but these: of one that went while a watch was away nobody has told."""
        self._under_way = {key: row for key, row in self._under_way.items() if key in keys}

    def _count(self, startup: Object) -> None:
        self._whole.observe(startup["seconds"])
        for stage in startup.get("stages", ()):
            if "seconds" in stage:
                self._stages.labels(stage["name"]).observe(stage["seconds"])
            self._bytes.labels(stage["name"]).inc(stage.get("bytesDone", 0))

    def collect(self) -> Iterable[Metric]:
        """Return what is under way, one sample for each LlamaDeployment."""
        stage = GaugeMetricFamily(f"{self._prefix}_starting", "1 while it starts, by its stage.", labels=_LABELS)
        amounts = {
            name: GaugeMetricFamily(f"{self._prefix}_starting_{name}", text, labels=_LABELS)
            for name, (_, text) in _UNDER_WAY.items()
        }
        for key, startup in self._under_way.items():
            labels = (key.namespace, key.name, startup.get("stage") or "")
            stage.add_metric(labels, 1)
            row = next((row for row in startup.get("stages", ()) if row["name"] == startup.get("stage")), {})
            for name, (field, _) in _UNDER_WAY.items():
                if field in row:
                    amounts[name].add_metric(labels, row[field])
        return (stage, *amounts.values())

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what is collected has names of its own."""
        return ()


def _startup(status: Object | None) -> Mapping[str, Any] | None:
    return (status or {}).get("startup")
