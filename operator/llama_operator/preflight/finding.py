"""Finding: what one check found, in one sentence; and amounts as its sentences write them."""

from decimal import Decimal
from typing import Final

from llama_operator.plan.observed import Check, Finding

GIB: Final = 2**30


def passed(check: Check, message: str) -> Finding:
    """Return the finding of a check that holds."""
    return Finding(check, "passed", message)


def warned(check: Check, message: str) -> Finding:
    """Return the finding of a check that holds for now, with what to do before it does no longer."""
    return Finding(check, "passed", message, warns=True)


def failed(check: Check, reason: str, message: str) -> Finding:
    """Return the finding of a check that does not hold, with what to do in its message."""
    return Finding(check, "failed", message, reason)


def unknown(check: Check, message: str) -> Finding:
    """Return the finding of a check that could not be made, with what would make it possible."""
    return Finding(check, "unknown", message)


def gib(count: float | Decimal) -> str:
    """Write bytes as GiB; small amounts as MiB, so that they do not all read 0.0."""
    return f"{float(count) / GIB:.1f} GiB" if count >= GIB / 10 else f"{float(count) / 2**20:.0f} MiB"


def plain(count: Decimal) -> str:
    """Write a number without an exponent and without zeros at its end."""
    text = f"{count:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def counted(number: int, what: str) -> str:
    """Write a number of things: `1 GPU`, `2 GPUs`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def amount_of(resource: str, value: Decimal) -> str:
    """Write an amount of a resource."""
    return gib(value) if resource.endswith(("memory", "storage")) else plain(value)
