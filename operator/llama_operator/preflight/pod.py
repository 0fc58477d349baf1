"""What a pod asks for, read from the pod spec that would be created: so podTemplate's last word counts too."""

from collections.abc import Callable, Iterable, Mapping
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
    """The containers that run side by side, those that run before them one by one, and the pod spec itself.

    Of those side by side the sidecars come first; `running` is how many of them run already beside each one `before`.
    """

    containers: tuple[Container, ...]
    before: tuple[Container, ...]
    spec: Object
    running: tuple[int, ...] = ()

    @property
    def every(self) -> tuple[Container, ...]:
        """All containers."""
        return (*self.before, *self.containers)

    @property
    def requests(self) -> Amounts:
        """What a node must have: the sum of those side by side, or more if one before does with what runs then."""
        return self._effective(lambda row: row.requests)

    @property
    def limits(self) -> Amounts:
        """What a quota counts as limits."""
        return self._effective(lambda row: row.limits)

    def _effective(self, amounts_of: Callable[[Container], Amounts]) -> Amounts:
        beside, before = list(map(amounts_of, self.containers)), map(amounts_of, self.before)
        steps = [_total([*beside[:count], row]) for count, row in zip(self.running, before, strict=True)]
        total = dict(_total(beside))
        for step in steps:
            for name, value in step.items():
                total[name] = max(total.get(name, Decimal(0)), value)
        return total


def read(spec: Object) -> Pod:
    """Return what the pod spec `spec` asks for; an amount that is none is left for the API server to refuse."""
    sidecars: list[Container] = []
    before: list[tuple[Container, int]] = []
    for row in spec.get("initContainers", ()):
        found = _container(row)
        if row.get("restartPolicy") == "Always":  # a sidecar: an init container that goes on
            sidecars.append(found)
        else:
            before.append((found, len(sidecars)))
    beside = (*sidecars, *map(_container, spec.get("containers", ())))
    return Pod(beside, tuple(row for row, _ in before), spec, tuple(count for _, count in before))


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


def _total(rows: Iterable[Amounts]) -> Amounts:
    total: dict[str, Decimal] = {}
    for row in rows:
        for name, value in row.items():
            total[name] = total.get(name, Decimal(0)) + value
    return total
