"""Strategic merge: lay a piece of a pod template over a pod template."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from llama_operator.errors import SpecError
from llama_operator.plan.observed import Json

MERGE_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
"""Lists whose items are merged, by this key of theirs; every other list is replaced."""


def merge(base: Mapping[str, Any], patch: Mapping[str, Any], *, path: str) -> dict[str, Any]:
    """Return `base` with `patch` laid over it; null removes a field. `path` is where `patch` stands in the spec.

    Raises:
        SpecError: if a list item has no merge key, or a list or an object does not stand where it belongs.
    """
    merged = dict(base)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _value(name, merged.get(name), value, f"{path}.{name}")
    return merged


def _value(name: str, old: Json, new: Json, path: str) -> Json:
    if isinstance(old, Mapping):
        if not isinstance(new, Mapping):
            raise SpecError(path, "it must be an object")
        return merge(cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", new), path=path)
    if name not in MERGE_KEYS:
        return new
    if not isinstance(new, list):
        raise SpecError(path, "it must be a list")
    rows = [_row(MERGE_KEYS[name], item, f"{path}[{place}]") for place, item in enumerate(cast("list[Json]", new))]
    return rows if old is None else _by_key(MERGE_KEYS[name], cast("list[Any]", old), rows, path)


def _row(key: str, item: Json, path: str) -> Mapping[str, Any]:
    row = cast("Mapping[str, Any]", item) if isinstance(item, Mapping) else {}
    if not isinstance(row.get(key), str | int):
        raise SpecError(path, f"it needs the field {key}, by which it is merged")
    return row


def _by_key(key: str, old: Sequence[Any], new: Sequence[Mapping[str, Any]], path: str) -> list[Any]:
    merged = {item[key]: item for item in old}
    for place, row in enumerate(new):
        merged[row[key]] = merge(merged.get(row[key], {}), row, path=f"{path}[{place}]")
    return list(merged.values())
