"""What GPUs cost, as metrics."""

from prometheus_client import CollectorRegistry

from llama_operator.handlers.cost_metrics import CostMetrics
from llama_operator.plan.observed import Key

KEY = Key("ml", "llama")
LABELS = {"namespace": "ml", "name": "llama"}


def test_hours_of_the_status_are_seconds_as_prometheus_has_times() -> None:
    """And tokens are tokens."""
    registry = CollectorRegistry()
    CostMetrics(registry, "operator").saw(
        KEY, {"cost": {"gpuHoursHeld": 2.0, "gpuHoursIdle": 0.5, "generatedTokens": 70}}
    )
    assert registry.get_sample_value("operator_gpu_held_seconds_total", LABELS) == 7200
    assert registry.get_sample_value("operator_gpu_idle_seconds_total", LABELS) == 1800
    assert registry.get_sample_value("operator_generated_tokens_total", LABELS) == 70


def test_one_that_went_unseen_is_forgotten_by_the_next_resync() -> None:
    """A watch may miss its end; what exists keeps its series."""
    registry = CollectorRegistry()
    metrics, other = CostMetrics(registry, "operator"), Key("ml", "other")
    for key in (KEY, other):
        metrics.saw(key, {"cost": {"gpuHoursHeld": 2.0}})
    metrics.keep({other})
    assert registry.get_sample_value("operator_gpu_held_seconds_total", LABELS) is None
    assert registry.get_sample_value("operator_gpu_held_seconds_total", {**LABELS, "name": "other"}) == 7200


def test_one_that_is_gone_has_no_series_any_more() -> None:
    """Nor has one that never held a GPU."""
    registry = CollectorRegistry()
    metrics = CostMetrics(registry, "operator")
    metrics.saw(KEY, {"cost": {"gpuHoursHeld": 2.0}})
    metrics.saw(KEY, None)
    assert registry.get_sample_value("operator_gpu_held_seconds_total", LABELS) is None
