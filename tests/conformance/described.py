"""Values that a parameter's schema allows, for hypothesis to draw; its bounds are often among them."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

Schema: TypeAlias = Mapping[str, Any]
Values: TypeAlias = st.SearchStrategy[Any]
VOCABULARY: Final = 400  # of the tiny Llama: this id is the first that it does not know


def described(schema: Schema) -> Values:
    """What the schema allows; of token ids, one that the model does not know as well."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(described, schema["anyOf"]))
    return BY_TYPE[schema["type"]](schema)


def _integer(schema: Schema) -> Values:
    least, most = schema["minimum"], schema.get("maximum", VOCABULARY)
    return st.integers(least, min(most, VOCABULARY)) | st.sampled_from([least, most])


def _number(schema: Schema) -> Values:
    low, high = (schema.get(name, schema.get(f"exclusive{name.title()}")) for name in ("minimum", "maximum"))
    excluded = (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))
    few = st.floats(max(low, -2), min(high, 2))
    return (few | st.floats(low, high)).filter(lambda value: value not in excluded)


def _array(schema: Schema) -> Values:
    if "prefixItems" in schema:
        return st.tuples(*map(described, schema["prefixItems"])).map(list)
    return st.lists(described(schema["items"]), min_size=schema.get("minItems", 0), max_size=4)


def _object(schema: Schema) -> Values:
    if "properties" in schema:
        names = schema["properties"].items()
        return st.fixed_dictionaries({}, optional={name: described(each) for name, each in names})
    if "additionalProperties" not in schema:
        return st.just({})
    return st.dictionaries(st.integers(0, VOCABULARY).map(str), described(schema["additionalProperties"]), max_size=4)


def _string(_: Schema) -> Values:
    return st.text(min_size=1, max_size=4) | st.sampled_from([" the", "e"])


BY_TYPE: Final[Mapping[str, Callable[[Schema], Values]]] = {
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
    "string": _string,
    "boolean": lambda _: st.booleans(),
}
