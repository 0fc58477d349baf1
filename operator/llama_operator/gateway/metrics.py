"""Every metric of a gateway."""

from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llama_operator.gateway.decide import Mind, State

PREFIX: Final = "llama_gateway"
Outcome = Literal["forwarded", "expired", "full", "stopped", "refused", "lost", "hung_up"]


class Metrics:
    """Counts and times of one gateway, which stands for one model."""

    def __init__(self, mind: Callable[[], Mind], state: Callable[[], State]) -> None:
        """`mind` and `state` are asked when the metrics are read."""
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            f"{PREFIX}_requests",
            "Requests that ask for work, by what became of them. expired, full, stopped: answered 503; refused: 401 or "
            "403, and they wake nothing; lost: the pod ended the connection; hung_up: the caller did.",
            ("outcome",),
            registry=registry,
        )
        self._held_seconds = Histogram(
            f"{PREFIX}_held_seconds",
            "How long requests that were answered by a pod had to wait for one.",
            registry=registry,
            buckets=(0.01, 0.1, 1, 5, 10, 30, 60, 120, 300, 600, 1800),
        )
        self.wakes = Counter(f"{PREFIX}_wakes", "Times that this gateway woke the model.", registry=registry)
        self.sleeps = Counter(f"{PREFIX}_sleeps", "Times that this gateway put it to sleep.", registry=registry)
        held = Gauge(f"{PREFIX}_held", "Requests that wait for a pod.", registry=registry)
        held.set_function(lambda: mind().held)
        flying = Gauge(f"{PREFIX}_in_flight", "Requests that a pod works on.", registry=registry)
        flying.set_function(lambda: mind().in_flight)
        states = Gauge(f"{PREFIX}_state", "1 for the state that the model is in.", ("state",), registry=registry)
        for one in State:
            states.labels(one).set_function(lambda one=one: float(state() is one))

    def count(self, outcome: Outcome) -> None:
        """Count what became of a request."""
        self._requests.labels(outcome).inc()

    def waited(self, seconds: float) -> None:
        """Note how long a request was held that now goes on."""
        self._held_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
