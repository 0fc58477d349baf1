"""Every metric, under the names that dashboards of inference servers know, with this server's prefix.

One `Metrics` per app, with its own registry, so that two apps in one process (tests) do not share counts.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

PREFIX = "llama_inference"
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
STEP_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)


class BusyTime(Collector):
    """Seconds with at least one request in the engine, the present one included: a counter that grows by itself."""

    def __init__(self, name: str, text: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._text, self._clock = name, text, clock
        self._past = 0.0
        self._since: float | None = None

    def note(self, *, busy: bool) -> None:
        """Say whether anything runs from now on."""
        now = self._clock()
        if self._since is not None:
            self._past += now - self._since
        self._since = now if busy else None

    @property
    def seconds(self) -> float:
        """What has come together so far."""
        return self._past + (0.0 if self._since is None else self._clock() - self._since)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Hand the value to Prometheus' client."""
        yield CounterMetricFamily(self._name, self._text, value=self.seconds)


class Metrics:
    """The server's counters, gauges and histograms; label values are routes, statuses and reasons, never content."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"{PREFIX}_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", text, ("backend",), registry=registry, buckets=buckets)

        self.http_requests = counter(
            "http_requests", "Answers, by route, method and status.", "route", "method", "status"
        )
        self.finished = counter("request_success", "Finished sequences, by reason.", "finished_reason", "backend")
        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens of finished requests.", "backend")
        self.generation_tokens = counter("generation_tokens", "Output tokens of finished requests.", "backend")
        self.abandoned = counter("requests_abandoned", "Admitted requests that ended without a result.", "reason")
        self.key_requests = counter("api_key_requests", "Requests let in, by the name of their API key.", "key")
        self.key_tokens = counter("api_key_tokens", "Tokens of finished requests, by API key and kind.", "key", "kind")
        self.key_refusals = counter("api_key_refusals", "Requests without a valid API key, by reason.", "reason")
        self.running = gauge("num_requests_running", "Requests in the engine.")
        self.waiting = gauge("num_requests_waiting", "Requests waiting for the engine.")
        self.kv_usage = gauge("kv_cache_usage_ratio", "Part of the room for keys and values in use, 0 to 1.")
        self.prefix_hits = counter("prefix_cache_hits", "Tokens of prompts whose keys and values were there already.")
        self.busy = BusyTime(f"{PREFIX}_busy_seconds", "Seconds with at least one request in the engine.")
        registry.register(self.busy)
        self.tasks = gauge("event_loop_tasks", "Tasks of the event loop; each request under way has at least one.")
        self.ready = gauge("ready", "1 when predict is answered.")
        self.load_seconds = gauge("model_load_seconds", "How long a start-up stage took.", "stage")
        self.golden_failures = counter("golden_prompt_failures", "Golden prompts that were not answered as expected.")
        self.download_bytes = counter("download_bytes", "Bytes fetched from the Hub.")
        self.first_token = histogram("time_to_first_token_seconds", "From arrival to the first decoding step.")
        self.inter_token = histogram(
            "inter_token_latency_seconds", "Between two decoding steps of a request.", STEP_SECONDS
        )
        self.prefill_time = histogram("request_prefill_time_seconds", "From the engine to the first decoding step.")
        self.decode_time = histogram("request_decode_time_seconds", "From the first decoding step to the last token.")
        self.latency = histogram("e2e_request_latency_seconds", "From arrival to the last token.")
        self.queue_time = histogram("request_queue_time_seconds", "From arrival to the engine.")
        self.info = gauge(
            "info", "1; its labels say what is served.", "model", "revision", "dtype", "device", "backend"
        )

    def begin(self, backend: str, reasons: Iterable[str]) -> None:
        """Show what a backend's requests are counted in from the start: a rate does not see a row's first count."""
        for metric in (self.prompt_tokens, self.generation_tokens, self.first_token, self.inter_token, self.latency):
            metric.labels(backend)
        for reason in reasons:
            self.finished.labels(reason, backend)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
