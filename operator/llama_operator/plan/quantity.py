"""Amounts as Kubernetes writes them, as numbers."""

from decimal import Decimal
from typing import Final

_SUFFIXES: Final = {
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}


def amount(text: str | float) -> Decimal:
    """Return the number that a quantity such as 500m, 2 or 140Gi stands for.

    Raises:
        ValueError: if it is no quantity.
    """
    written = str(text).strip()
    for suffix, factor in _SUFFIXES.items():
        if written.endswith(suffix):
            return _decimal(written.removesuffix(suffix), text) * factor
    return _decimal(written, text)


def count(written: str) -> int | str:
    """Return a number of pods as a number, a share of them as it is written."""
    return int(written) if written.isdigit() else written


def _decimal(digits: str, whole: object) -> Decimal:
    try:
        return Decimal(digits)
    except ArithmeticError:
        raise ValueError(f"{whole!r} is not a quantity") from None
