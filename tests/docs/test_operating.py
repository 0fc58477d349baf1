"""The table of the operator's metrics in docs/operating.md has every metric, and no other."""

from llama_operator.handlers.metrics import Metrics
from tests.support.operator_metrics import documented, exposed


def test_the_page_lists_every_metric() -> None:
    """By the name that a query uses, with its kind."""
    assert documented() == exposed(Metrics().text().decode())
