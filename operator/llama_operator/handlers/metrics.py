"""Every metric of the operator; one `Metrics` per process, with its own registry."""

from collections.abc import Callable, Collection
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from llama_operator.handlers.cost_metrics import CostMetrics
from llama_operator.handlers.failures import FailureReason
from llama_operator.handlers.startup_metrics import StartupMetrics
from llama_operator.plan.observed import Key

PREFIX: Final = "llama_operator"
Result = Literal["ok", "conflict", "failed"]


class Metrics:
    """Counts and times; of LlamaDeployments, of which there may be thousands, only starts and costs are named."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._reconciles = Counter(
            f"{PREFIX}_reconciles",
            "Looks at a LlamaDeployment, by result; conflict: it changed meanwhile.",
            ("result",),
            registry=registry,
        )
        self._seconds = Histogram(f"{PREFIX}_reconcile_seconds", "Time of one look.", registry=registry)
        self._failures = Counter(
            f"{PREFIX}_reconcile_errors",
            "Looks that failed, by reason; they are tried again.",
            ("reason",),
            registry=registry,
        )
        self._requests = Counter(
            f"{PREFIX}_api_requests",
            "Requests to the API server by HTTP verb, or WATCH for what preflight waits for, and status of the answer; "
            "none: no answer.",
            ("verb", "code"),
            registry=registry,
        )
        self.costs = CostMetrics(registry, PREFIX)
        self._leading = Gauge(f"{PREFIX}_leading", "1 while this process acts.", registry=registry)
        self.startups = StartupMetrics(registry, PREFIX)
        self._queued = Gauge(f"{PREFIX}_queued", "Keys that wait or are worked on.", registry=registry)

    def reconciled(self, result: Result, seconds: float) -> None:
        """Count one look."""
        self._reconciles.labels(result).inc()
        self._seconds.observe(seconds)

    def failed(self, reason: FailureReason) -> None:
        """Count one look that failed."""
        self._failures.labels(reason).inc()

    def asked(self, verb: str, code: int | None) -> None:
        """Count one request to the API server."""
        self._requests.labels(verb, "none" if code is None else "2xx" if code // 100 == 2 else str(code)).inc()

    def lead(self, queued: Callable[[], int]) -> None:
        """Note that this process acts, and where to read how many keys are in its queue."""
        self._leading.set(1)
        self._queued.set_function(queued)

    def keep(self, keys: Collection[Key]) -> None:
        """Forget the series of all LlamaDeployments but these."""
        self.costs.keep(keys)
        self.startups.keep(keys)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
