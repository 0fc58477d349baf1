"""Whether a live object already is what is wanted, so that an apply would change nothing.

Two tests: the digest of what was applied last (finds fields that are wanted no more) and that every wanted field has
its value (finds what somebody else changed). What the API server fills in is neither.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from llama_operator.names import ANNOTATION_APPLIED
from llama_operator.plan.merge import MERGE_KEYS
from llama_operator.plan.observed import Json, Object
from llama_operator.plan.quantity import amount

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (key,) for name, key in MERGE_KEYS.items()},
    "ports": ("containerPort", "port"),
    "ownerReferences": ("uid",),
}
_CONTROLLERS: Final = ("deployment.kubernetes.io/", "pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.")
"""What controllers note on objects, after they were applied."""
_QUANTITIES: Final = frozenset({"requests", "limits", "sizeLimit"})


def digest(value: object) -> str:
    """Return a short digest of a JSON value, the same for every order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stamped(obj: Object) -> dict[str, Any]:
    """Return `obj` with the annotation that holds its own digest."""
    metadata = dict(obj["metadata"])
    metadata["annotations"] = {**metadata.get("annotations", {}), ANNOTATION_APPLIED: digest(_shown(obj))}
    return {**obj, "metadata": metadata}


def _shown(obj: Object) -> Object:
    """Leave the values of a Secret out of what others can read: their names tell which are wanted no more."""
    return {**obj, "data": sorted(obj["data"])} if obj["kind"] == "Secret" else obj


def differs(wanted: Object, live: Object | None, *, settled: bool = False) -> bool:
    """Whether the stamped object `wanted` has to be applied.

    One that is `settled` is as the last apply left it: what admission made of it then, it would make again.
    """
    # In this order: once it was applied, it was accepted, and its values have the forms that are compared below.
    return live is None or _applied(live) != _applied(wanted) or not (settled or _contains(live, wanted))


def contains(live: Json, wanted: Json) -> bool:
    """Whether a live value has everything of a wanted one that the API server has accepted before."""
    return _contains(live, wanted)


def content(obj: Object) -> str:
    """Return a digest of what an object asks for: what admission may change, and nobody's status or book-keeping."""
    metadata: Mapping[str, Any] = obj["metadata"]
    annotations = {
        name: value for name, value in (metadata.get("annotations") or {}).items() if not name.startswith(_CONTROLLERS)
    }
    rest = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    return digest({**rest, "labels": metadata.get("labels") or {}, "annotations": annotations})


def changed(live: Json, wanted: Json, path: str = "") -> str | None:
    """Return the path of the first field of `wanted` that a live object has otherwise; None if there is none.

    Items of lists are named where they have a name, as people look for them.
    """
    if _contains(live, wanted, name=path.rpartition(".")[2]):
        return None
    if isinstance(wanted, Mapping):
        found: Mapping[str, Json] = live if isinstance(live, Mapping) else {}
        inner = cast("Mapping[str, Json]", wanted).items()
        quantities = path.rpartition(".")[2] in _QUANTITIES
        rows = (
            changed(found.get(key), value, f"{path}.{key}".lstrip("."))
            for key, value in inner
            if not (quantities and found.get(key) is not None and amount(found[key]) == amount(value))
        )
        return next((row for row in rows if row), path)
    name = path.rpartition(".")[2]
    key = next((key for key in _KEYS.get(name, ()) if key == "name"), None)
    if key and isinstance(wanted, Sequence) and not isinstance(wanted, str):
        items = cast("Sequence[Json]", wanted)
        there = {item.get(key): item for item in live or ()}
        rows = (changed(there.get(item.get(key)), item, f"{path}[{item.get(key)}]") for item in items)
        return next((row for row in rows if row), path)
    return path


def _applied(obj: Object) -> str | None:
    return obj["metadata"].get("annotations", {}).get(ANNOTATION_APPLIED)


def _contains(live: Json, wanted: Json, *, name: str = "", quantity: bool = False) -> bool:
    if isinstance(wanted, Mapping):
        rows = cast("Mapping[str, Json]", wanted)
        found: Mapping[str, Json] = live if isinstance(live, Mapping) else {}
        return all(
            _contains(found.get(key), value, name=key, quantity=quantity or key in _QUANTITIES)
            for key, value in rows.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _contains_all(live or (), cast("Sequence[Json]", wanted), name)
    if quantity and live is not None:
        return amount(live) == amount(wanted)
    # The API server leaves out much that is empty, zero or false.
    return live == wanted or (live is None and not wanted)


def _contains_all(live: Sequence[Json], wanted: Sequence[Json], name: str) -> bool:
    key = next((key for key in _KEYS.get(name, ()) if _tells_apart(key, wanted)), None)
    if key is None:
        return len(live) == len(wanted) and all(map(_contains, live, wanted))
    found = {item.get(key): item for item in live}
    return all(_contains(found.get(item[key]), item) for item in wanted)


def _tells_apart(key: str, items: Sequence[Json]) -> bool:
    """Whether each item has a value of its own under `key`; two ports may have one number, for UDP and for TCP."""
    return all(key in item for item in items) and len({item[key] for item in items}) == len(items)
