"""What a server still holds, as its metrics say."""

from prometheus_client.parser import text_string_to_metric_families

from tests.llama_inference.harness import eventually
from tests.llama_inference.process import Process

PATIENCE_S = 120
NONE = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_ratio")
NO_MORE = ("event_loop_tasks", "process_open_fds")


def measure(process: Process) -> dict[str, float]:
    """Every unlabelled metric, by its name without the prefix."""
    families = text_string_to_metric_families(process.client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples if not sample.labels)
    return {sample.name.removeprefix("llama_inference_"): sample.value for sample in samples}


def total(process: Process, name: str, **labels: str) -> float:
    """A counter over all rows that have these labels."""
    families = text_string_to_metric_families(process.client.get("/metrics").text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"llama_inference_{name}" and labels.items() <= sample.labels.items()
    )


def nothing_stays(process: Process, fresh: dict[str, float]) -> None:
    """Wait until no slot and no key or value is in use, and tasks and descriptors are no more than at first."""

    def same() -> bool:
        now = measure(process)
        return all(now[name] == 0 for name in NONE) and all(now[name] <= fresh[name] for name in NO_MORE)

    eventually(same, "slots, keys, tasks and descriptors as before", PATIENCE_S)
    assert not [row for row in process.log if row["level"] in ("error", "critical")]
