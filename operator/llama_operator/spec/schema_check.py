"""Hold a value against a JSON schema: the keywords that the server's parameters are described with, and no others."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

Schema = Mapping[str, Any]


def holds(schema: Schema, value: Any) -> bool:  # noqa: ANN401  (any value of JSON)
    """Whether `value`, as JSON has it, is what `schema` describes.

    Raises:
        KeyError: for a keyword that is not known here; whatever has one must not be taken for checked.
    """
    return all(_KEYWORDS[keyword](wanted, value, schema) for keyword, wanted in schema.items())


def _is_number(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _is_integer(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or cast("float", value).is_integer())


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = {
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _enum(options: list[Any], value: Any, _: Schema) -> bool:  # noqa: ANN401
    return any(type(value) is type(option) and value == option for option in options)  # true is not 1


def _bound(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Schema], bool]:
    return lambda bound, value, _: not _is_number(value) or test(value, bound)


def _items(item: Schema, value: Any, schema: Schema) -> bool:  # noqa: ANN401
    first = len(schema.get("prefixItems", ()))
    return not isinstance(value, list) or all(holds(item, row) for row in cast("list[Any]", value)[first:])


def _prefix(items: list[Schema], value: Any, _: Schema) -> bool:  # noqa: ANN401
    return not isinstance(value, list) or all(map(holds, items, cast("list[Any]", value)))


def _properties(fields: Mapping[str, Schema], value: Any, _: Schema) -> bool:  # noqa: ANN401
    if not isinstance(value, dict):
        return True
    rows = cast("dict[str, Any]", value)
    return all(holds(fields[name], row) for name, row in rows.items() if name in fields)


def _others(allowed: bool, value: Any, schema: Schema) -> bool:  # noqa: ANN401, FBT001
    return allowed or not isinstance(value, dict) or cast("dict[str, Any]", value).keys() <= schema["properties"].keys()


def _length(test: Callable[[int, int], bool], *kinds: type) -> Callable[[int, Any, Schema], bool]:
    return lambda bound, value, _: not isinstance(value, kinds) or test(len(value), bound)


def _leaves(value: Any) -> list[Any]:  # noqa: ANN401
    return [leaf for row in cast("list[Any]", value) for leaf in _leaves(row)] if isinstance(value, list) else [value]


def _most_integers(most: int, value: Any, _: Schema) -> bool:  # noqa: ANN401
    """Of token ids in lists of lists; a bias beside each list is a number that may be whole, and is not counted."""
    lists = [row for row in cast("list[Any]", value) if isinstance(row, list)] if isinstance(value, list) else []
    ids = [row[0] if row and isinstance(row[0], list) else row for row in cast("list[list[Any]]", lists)]
    return sum(map(len, cast("list[list[Any]]", ids))) <= most


def _most_characters(most: int, value: Any, _: Schema) -> bool:  # noqa: ANN401
    return sum(len(leaf) for leaf in _leaves(value) if isinstance(leaf, str)) <= most


_KEYWORDS: Final[Mapping[str, Callable[[Any, Any, Schema], bool]]] = {
    "type": lambda kind, value, _: _TYPES[kind](value),
    "enum": _enum,
    "anyOf": lambda options, value, _: any(holds(option, value) for option in options),
    "minimum": _bound(lambda value, bound: value >= bound),
    "maximum": _bound(lambda value, bound: value <= bound),
    "exclusiveMinimum": _bound(lambda value, bound: value > bound),
    "exclusiveMaximum": _bound(lambda value, bound: value < bound),
    "minLength": _length(lambda count, bound: count >= bound, str),
    "maxLength": _length(lambda count, bound: count <= bound, str),
    "minItems": _length(lambda count, bound: count >= bound, list),
    "maxItems": _length(lambda count, bound: count <= bound, list),
    "items": _items,
    "prefixItems": _prefix,
    "properties": _properties,
    "additionalProperties": _others,
    "x-most-ids": _most_integers,
    "x-most-characters": _most_characters,
}
