"""Start-ups as metrics: those under way by name, those that are over by stage."""

from typing import Any

from prometheus_client import CollectorRegistry

from llama_operator.handlers.startup_metrics import StartupMetrics
from tests.support.operator_objects import KEY

AT: dict[str, str] = {"namespace": KEY.namespace, "name": KEY.name, "stage": "Download"}


def a_registry() -> tuple[CollectorRegistry, StartupMetrics]:
    """An empty registry with the metrics in it."""
    registry = CollectorRegistry()
    return registry, StartupMetrics(registry, "x")


def a_status(*, seconds: float | None = None, **download: Any) -> dict[str, Any]:
    """A status whose start-up downloads, or is over after `seconds`."""
    row = {"name": "Download", "state": "running" if seconds is None else "done", **download}
    rest: dict[str, Any] = {"stage": "Download"} if seconds is None else {"seconds": seconds}
    return {"startup": {"podName": "llama-1", "stages": [{"name": "Resolve", "state": "done"}, row], **rest}}


def test_a_start_under_way_is_told_by_name_with_bytes_and_time_left() -> None:
    """Until it is over, when nothing names it any more."""
    registry, metrics = a_registry()
    metrics.saw(KEY, None, a_status(bytesDone=3, bytesTotal=10, etaSeconds=35))
    found = [registry.get_sample_value(f"x_starting{name}", AT) for name in ("", "_bytes", "_bytes_wanted")]
    assert found == [1, 3, 10]
    assert registry.get_sample_value("x_starting_eta_seconds", AT) == 35
    metrics.saw(KEY, a_status(), a_status(seconds=12.0))
    assert registry.get_sample_value("x_starting", AT) is None


def test_one_that_is_gone_is_told_no_more() -> None:
    """Deleted while it started."""
    registry, metrics = a_registry()
    metrics.saw(KEY, None, a_status())
    metrics.saw(KEY, a_status(), None)
    assert registry.get_sample_value("x_starting", AT) is None


def test_a_start_that_is_over_counts_once_for_each_stage() -> None:
    """Seconds and bytes; further looks, and those of an operator that starts anew, add nothing."""
    registry, metrics = a_registry()
    over = a_status(seconds=42.0, bytesDone=1000)
    over["startup"]["stages"][1]["seconds"] = 30.0
    metrics.saw(KEY, a_status(), over)
    metrics.saw(KEY, over, over)
    metrics.saw(KEY, None, over)
    stage = {"stage": "Download"}
    assert registry.get_sample_value("x_startup_seconds_sum") == 42.0
    assert registry.get_sample_value("x_startup_stage_seconds_count", stage) == 1
    assert registry.get_sample_value("x_startup_stage_seconds_sum", stage) == 30.0
    assert registry.get_sample_value("x_startup_bytes_total", stage) == 1000
