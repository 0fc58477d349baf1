"""What the LimitRanges of a namespace make of a pod: defaults that they fill in, bounds that they hold it to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from llama_operator.plan.observed import Object
from llama_operator.preflight.finding import Finding, amount_of, failed
from llama_operator.preflight.pod import Amounts, Container, Pod, amounts

Row = Mapping[str, Any]


def _rows(ranges: Sequence[Object], kind: str) -> Iterator[tuple[str, Row]]:
    for limit_range in ranges:
        for row in limit_range["spec"]["limits"]:
            if row["type"] == kind:
                yield limit_range["metadata"]["name"], row


def defaulted(pod: Pod, ranges: Sequence[Object]) -> Pod:
    """Return the pod as the API server will see it, with the limits and requests that it says nothing about."""
    for _, row in _rows(ranges, "Container"):
        limits, requests = amounts(row.get("default") or {}), amounts(row.get("defaultRequest") or {})
        pod = replace(
            pod,
            containers=tuple(_filled(found, requests, limits) for found in pod.containers),
            before=tuple(_filled(found, requests, limits) for found in pod.before),
        )
    return pod


def _filled(container: Container, requests: Amounts, limits: Amounts) -> Container:
    return replace(container, requests={**requests, **container.requests}, limits={**limits, **container.limits})


def check(pod: Pod, ranges: Sequence[Object], *, claim: Decimal | None) -> Iterator[Finding]:
    """Yield what the LimitRanges would refuse.

    Args:
        pod: as `defaulted` returns it.
        ranges: the LimitRanges of the namespace.
        claim: bytes of the volume that is to be claimed; None if it is there already.
    """
    for container in pod.every:
        for name, row in _rows(ranges, "Container"):
            yield from _bounds(f"container {container.name}", container.requests, container.limits, name, row)
        yield from _inverted(container)
    for name, row in _rows(ranges, "Pod"):
        yield from _bounds("a pod", pod.requests, pod.limits, name, row)
    for name, row in _rows(ranges, "PersistentVolumeClaim"):
        if claim is not None:
            yield from _bounds("the cache", {"storage": claim}, {"storage": claim}, name, row)


def _bounds(what: str, requests: Amounts, limits: Amounts, limit_range: str, row: Row) -> Iterator[Finding]:
    largest, least = amounts(row.get("max") or {}), amounts(row.get("min") or {})
    for resource, bound in largest.items():
        value = max(limits.get(resource, Decimal(0)), requests.get(resource, Decimal(0)))
        if value > bound:
            allows = f"LimitRange {limit_range} allows {what} at most {amount_of(resource, bound)} of {resource}"
            yield _outside(allows, resource, value, f"lower {field_of(resource)}")
    for resource, bound in least.items():
        value = requests.get(resource)
        if value is not None and value < bound:
            asks = f"LimitRange {limit_range} asks of {what} at least {amount_of(resource, bound)} of {resource}"
            yield _outside(asks, resource, value, f"raise {field_of(resource)}")


def _outside(rule: str, resource: str, value: Decimal, deed: str) -> Finding:
    message = f"{rule}, and it would have {amount_of(resource, value)}: {deed}, or change the LimitRange"
    return failed("Quota", "LimitRangeExceeded", message)


def _inverted(container: Container) -> Iterator[Finding]:
    """Yield requests above a limit that a LimitRange filled in."""
    for resource, limit in container.limits.items():
        value = container.requests.get(resource, Decimal(0))
        if value > limit:
            yield failed(
                "Quota",
                "LimitRangeExceeded",
                f"container {container.name} requests {amount_of(resource, value)} of {resource}, and its limit, which "
                f"a LimitRange sets where the spec does not, is {amount_of(resource, limit)}: "
                f"{_limit_field(resource)}",
            )


def _limit_field(resource: str) -> str:
    if resource == "memory":
        return "set spec.resources.memoryLimit, or lower spec.resources.memory"
    return f"set the limit in spec.podTemplate, or lower {field_of(resource)}"


_FIELDS: Mapping[str, str] = {
    "cpu": "spec.resources.cpu",
    "memory": "spec.resources.memory",
    "storage": "spec.cache.size",
}


def field_of(resource: str) -> str:
    """Return the field of the spec that a resource comes from."""
    return _FIELDS.get(resource) or ("spec.resources.gpu.count" if "/" in resource else "spec.podTemplate")
