"""Probes and facts of a ready server."""

from prometheus_client.parser import text_string_to_metric_families

from llama_inference.backends.mock import MockBackend
from llama_inference.values import KvUsage
from tests.llama_inference.harness import Served, serve

NAMES = {
    "http_requests",
    "request_success",
    "prompt_tokens",
    "generation_tokens",
    "requests_abandoned",
    "api_key_requests",
    "api_key_tokens",
    "kv_cache_usage_ratio",
    "busy_seconds",
    "inter_token_latency_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "api_key_refusals",
    "num_requests_running",
    "num_requests_waiting",
    "ready",
    "model_load_seconds",
    "download_bytes",
    "time_to_first_token_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "info",
}


def test_a_ready_server_says_so(served: Served) -> None:
    """To each of its probes."""
    found = {path: served.client.get(path) for path in ("/healthz", "/readyz", "/startupz")}
    assert {path: answer.status_code for path, answer in found.items()} == dict.fromkeys(found, 200)
    assert found["/healthz"].json() == {"live": True, "phase": "serving", "reason": None}
    assert found["/readyz"].json() == {"ready": True, "phase": "serving"}
    assert found["/startupz"].json()["ready"] is True


def test_info_tells_what_is_served_and_within_which_bounds(served: Served) -> None:
    """Name, model, context, and the defaults of a request that gives nothing."""
    info = served.client.get("/info").json()
    assert (info["name"], info["model"], info["phase"]) == ("tiny", "mock", "serving")
    assert (info["max_context"], info["dtype"], info["device"]) == (4096, "none", "none")
    assert info["defaults"]["num_beams"] == 4
    assert info["chat_template"] is True


def test_the_metrics_are_prometheus_text_with_every_name(served: Served) -> None:
    """Under this server's prefix, beside those of the process."""
    answer = served.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert {f"llama_inference_{name}" for name in NAMES} <= set(families)
    assert {"process_resident_memory_bytes", "python_info"} <= set(families)
    (ready,) = families["llama_inference_ready"].samples
    (info,) = families["llama_inference_info"].samples
    assert ready.value == 1
    assert info.labels == {"model": "mock", "revision": "", "dtype": "none", "device": "none", "backend": "mock"}


def test_the_room_for_keys_and_values_is_told_by_the_backend() -> None:
    """As it is when it is asked for; a backend that keeps none has 0."""

    class Keeping(MockBackend):
        kv_usage = KvUsage(used=3, total=4)

    with serve(lambda _progress, _metrics: Keeping()) as served:
        served.ready().client.get("/metrics")
        assert served.metric("kv_cache_usage_ratio") == 0.75


def test_docs_are_served(served: Served) -> None:
    """For people."""
    assert "text/html" in served.client.get("/docs").headers["content-type"]
