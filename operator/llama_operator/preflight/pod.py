"""What a pod asks for, read from the pod spec that would be created: so podTemplate's last word counts too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llama_operator.plan.observed import Object
from llama_operator.plan.quantity import amount

Amounts = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Container:
    """Requests and limits of one container; what has a limit and no request requests its limit."""

    name: str
    requests: Amounts
    limits: Amounts


@dataclass(frozen=True, slots=True)
class Pod:
    """The containers that run side by side, those that run before them one by one, and the pod spec itself."""

    containers: tuple[Container, ...]
    before: tuple[Container, ...]
    spec: Object

    @property
    def every(self) -> tuple[Container, ...]:
        """All containers."""
        return (*self.before, *self.containers)

    @property
    def requests(self) -> Amounts:
        """What a node must have: the sum of those side by side, or more if one before needs more."""
        return _effective([row.requests for row in self.containers], [row.requests for row in self.before])

    @property
    def limits(self) -> Amounts:
        """What a quota counts as limits."""
        return _effective([row.limits for row in self.containers], [row.limits for row in self.before])


def read(spec: Object) -> Pod:
    """Return what the pod spec `spec` asks for; an amount that is none is left for the API server to refuse."""
    before, beside = [], list(map(_container, spec.get("containers", ())))
    for row in spec.get("initContainers", ()):
        # A sidecar is an init container that goes on.
        (beside if row.get("restartPolicy") == "Always" else before).append(_container(row))
    return Pod(tuple(beside), tuple(before), spec)


def _container(row: Mapping[str, Any]) -> Container:
    resources: Mapping[str, Any] = row.get("resources") or {}
    limits = amounts(resources.get("limits") or {})
    return Container(row["name"], {**limits, **amounts(resources.get("requests") or {})}, limits)


def amounts(rows: Mapping[str, Any]) -> Amounts:
    """Return quantities as numbers, leaving out what is none."""
    found: dict[str, Decimal] = {}
    for name, value in rows.items():
        try:
            found[name] = amount(value)
        except ValueError:
            continue
    return found


def _effective(beside: Sequence[Amounts], before: Iterable[Amounts]) -> Amounts:
    total: dict[str, Decimal] = {}
    for rows in beside:
        for name, value in rows.items():
            total[name] = total.get(name, Decimal(0)) + value
    for rows in before:
        for name, value in rows.items():
            total[name] = max(total.get(name, Decimal(0)), value)
    return total
