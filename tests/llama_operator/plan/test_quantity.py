"""Amounts as Kubernetes writes them."""

from decimal import Decimal

import pytest

from llama_operator.plan.quantity import amount


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", "2"),
        (2, "2"),
        ("500m", "0.5"),
        ("1Gi", "1073741824"),
        ("1.5Ki", "1536"),
        ("2G", "2000000000"),
        ("1e3", "1000"),
        ("1E", "1000000000000000000"),
        ("100n", "0.0000001"),
    ],
)
def test_an_amount_is_a_number(text: str | int, number: str) -> None:
    """Every suffix counts."""
    assert amount(text) == Decimal(number)


def test_what_is_no_amount_is_refused() -> None:
    """The error shows it."""
    with pytest.raises(ValueError, match="'much'"):
        amount("much")
