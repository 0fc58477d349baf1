"""Kinds of values: each checks a JSON value, turns it into what transformers wants, and describes itself.

A kind raises `ValueError` with the end of a sentence ("must be …"); `parameters` puts the name and the value in front.
Of a compound value the error names the place that is at fault (`WithinError`), and null counts as not given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from llama_inference.values import Json

INT_MAX = 2**31 - 1
MOST_STRINGS = 16
MOST_CHARACTERS = 256
MOST_IDS = 1024  # token ids of one value in all
MOST_DIGITS = 18  # of a token id that is written as a name
MOST_OF_A_NAME = 100  # of a caller's name that an error repeats
MOST_LISTS = 256  # of several tokens each; every one is compared with the text at every step, while all others wait


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value.

    Attributes:
        check: value and vocabulary size (None when no model is loaded yet) → the value as transformers takes it.
        schema: the same rule as JSON schema; `x-most-characters` and `x-most-ids` are of all strings, or token ids, in
            all lists of a value. The operator judges by it: a rule that is not in it is one that it does not know.
        minimum, maximum: bounds of a plain number, else None; a deployment may lower the maximum.
    """

    check: Callable[[Json, int | None], Json]
    schema: dict[str, Json]
    minimum: float | None = None
    maximum: float | None = None


class WithinError(ValueError):
    """A fault in a place of a compound value: a path such as `.include_usage` or `[2][0]`, and the value there."""

    def __init__(self, path: str, error: ValueError, value: Json) -> None:
        super().__init__(str(error))
        self.path = path + (error.path if isinstance(error, WithinError) else "")
        self.value: Json = error.value if isinstance(error, WithinError) else value


def _within(path: str, kind: "Kind", value: Json, vocabulary: int | None) -> Json:
    try:
        return kind.check(value, vocabulary)
    except ValueError as error:
        raise WithinError(path, error, value) from None


def _each(kind: "Kind", values: list[Json], vocabulary: int | None) -> list[Json]:
    return [_within(f"[{place}]", kind, value, vocabulary) for place, value in enumerate(values)]


def is_integer(value: Json) -> bool:
    """Whether a JSON value is a whole number; JSON knows no difference between 1 and 1.0, and true is no number."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def is_number(value: Json) -> bool:
    """Whether a JSON value is a finite number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def integer(minimum: int, maximum: int = INT_MAX) -> Kind:
    """A whole number between two bounds, both included."""

    def check(value: Json, _: int | None) -> Json:
        if not is_integer(value) or not minimum <= value <= maximum:
            raise ValueError(f"must be an integer from {minimum} to {maximum}")
        return int(value)

    return Kind(check, {"type": "integer", "minimum": minimum, "maximum": maximum}, minimum, maximum)


def number(minimum: float, maximum: float, *, above: bool = False, below: bool = False) -> Kind:
    """A finite number between two bounds; `above` and `below` leave the lower and the upper bound itself out."""
    lower = f"above {minimum:g}" if above else f"at least {minimum:g}"
    upper = f"below {maximum:g}" if below else f"at most {maximum:g}"

    def check(value: Json, _: int | None) -> Json:
        inside = is_number(value) and minimum <= value <= maximum
        if not inside or (above and value == minimum) or (below and value == maximum):
            raise ValueError(f"must be a number {lower} and {upper}")
        return float(value)

    schema: dict[str, Json] = {"type": "number"}
    schema["exclusiveMinimum" if above else "minimum"] = minimum
    schema["exclusiveMaximum" if below else "maximum"] = maximum
    return Kind(check, schema, minimum, maximum)


def boolean() -> Kind:
    """True or false."""

    def check(value: Json, _: int | None) -> Json:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")  # noqa: TRY004 - every kind raises the same
        return value

    return Kind(check, {"type": "boolean"})


def also(kind: Kind, *values: Json) -> Kind:
    """A kind, or one of a few values that clients send for nothing; those are taken as they are."""

    def check(value: Json, vocabulary: int | None) -> Json:
        if any(type(value) is type(each) and value == each for each in values):
            return value
        return kind.check(value, vocabulary)

    return Kind(check, {"anyOf": [kind.schema, {"enum": list(values)}]}, kind.minimum, kind.maximum)


def choice(*options: Json) -> Kind:
    """One of a few fixed values."""
    shown = ", ".join(_json(option) for option in options)

    def check(value: Json, _: int | None) -> Json:
        if not any(value is option or (isinstance(value, str) and value == option) for option in options):
            raise ValueError(f"must be one of {shown}")
        return value

    return Kind(check, {"enum": list(options)})


def text() -> Kind:
    """Any text."""

    def check(value: Json, _: int | None) -> Json:
        if not isinstance(value, str):
            raise ValueError("must be a string")  # noqa: TRY004 - every kind raises the same
        return value

    return Kind(check, {"type": "string"})


def variables() -> Kind:
    """An object whose names are for somebody else to read."""

    def check(value: Json, _: int | None) -> Json:
        if not isinstance(value, dict):
            raise ValueError("must be an object of names and values")  # noqa: TRY004
        return value

    return Kind(check, {"type": "object"})


def strings() -> Kind:
    """A non-empty string, or a non-empty list of them; as a tuple."""

    def check(value: Json, _: int | None) -> Json:
        items: list[Json] = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, str) and item for item in items):
            raise ValueError("must be a non-empty string or a list of non-empty strings")
        # Each is compared with every token of the vocabulary before the first step, while all others wait.
        if len(items) > MOST_STRINGS or sum(map(len, items)) > MOST_CHARACTERS:
            raise ValueError(f"must be at most {MOST_STRINGS} strings of {MOST_CHARACTERS} characters in all")
        if any("\ud800" <= character <= "\udfff" for item in items for character in item):
            raise ValueError("holds half of a surrogate pair, which is no text: send whole characters")
        return tuple(items)

    one = {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_STRINGS}
    return Kind(check, {"anyOf": [one, many], "x-most-characters": MOST_CHARACTERS})


def _token(value: Json, vocabulary: int | None) -> int:
    top = INT_MAX if vocabulary is None else vocabulary - 1
    # An id beyond the vocabulary would end a CUDA context, and with it every other request.
    if not is_integer(value) or not 0 <= value <= top:
        raise ValueError("must be a token id" + ("" if vocabulary is None else f" from 0 to {top}"))
    return int(value)


TOKEN_SCHEMA = {"type": "integer", "minimum": 0, "maximum": INT_MAX}


def at_most(count: int, most: int, what: str) -> None:
    """Refuse a value that holds too many.

    Raises:
        ValueError: with both numbers.
    """
    if count > most:
        raise ValueError(f"must hold at most {most} {what}, and holds {count}")


def token() -> Kind:
    """One token id."""
    return Kind(_token, TOKEN_SCHEMA)


def tokens(*, or_one: bool = False) -> Kind:
    """A non-empty list of token ids; `or_one` takes a bare id as well, as transformers does."""
    one = token()

    def check(value: Json, vocabulary: int | None) -> Json:
        if or_one and is_integer(value):
            return _token(value, vocabulary)
        if not isinstance(value, list) or not value:
            raise ValueError("must be a non-empty list of token ids" + (", or one token id" if or_one else ""))
        at_most(len(value), MOST_IDS, "token ids")
        return _each(one, value, vocabulary)

    many: dict[str, Json] = {"type": "array", "items": TOKEN_SCHEMA, "minItems": 1, "maxItems": MOST_IDS}
    return Kind(check, {"anyOf": [TOKEN_SCHEMA, many]} if or_one else many)


def token_lists() -> Kind:
    """A non-empty list of non-empty lists of token ids."""
    inner = tokens()

    def check(value: Json, vocabulary: int | None) -> Json:
        if not isinstance(value, list) or not value:
            raise ValueError("must be a non-empty list of lists of token ids")
        _hold_lists(value)
        return _each(inner, value, vocabulary)

    many = {"type": "array", "items": inner.schema, "minItems": 1, "maxItems": MOST_LISTS, "x-most-ids": MOST_IDS}
    return Kind(check, many)


def _hold_lists(lists: list[Json]) -> None:
    at_most(len(lists), MOST_LISTS, "lists of token ids")
    at_most(sum(len(ids) for ids in lists if isinstance(ids, list)), MOST_IDS, "token ids in all its lists")


def biases() -> Kind:
    """Pairs of token ids and what is added to their score: `[[[5, 7], -2.0], …]`."""
    inner, amount = tokens(), number(-1e6, 1e6)

    def check(value: Json, vocabulary: int | None) -> Json:
        if not isinstance(value, list) or not value or not all(isinstance(x, list) and len(x) == 2 for x in value):
            raise ValueError("must be a non-empty list of pairs of token ids and a bias, such as [[[5, 7], -2.0]]")
        _hold_lists([ids for ids, _ in value])
        return _each(pair, value, vocabulary)

    def check_pair(value: Json, vocabulary: int | None) -> Json:
        return [_within("[0]", inner, value[0], vocabulary), _within("[1]", amount, value[1], vocabulary)]

    schema = {"type": "array", "prefixItems": [inner.schema, amount.schema], "minItems": 2, "maxItems": 2}
    pair = Kind(check_pair, schema)
    many = {"type": "array", "items": schema, "minItems": 1, "maxItems": MOST_LISTS, "x-most-ids": MOST_IDS}
    return Kind(check, many)


def biases_by_token() -> Kind:
    """Token id → what is added to its score, as OpenAI has it; as pairs, the way `biases` takes them."""
    one, amount = token(), number(-100, 100)

    def check(value: Json, vocabulary: int | None) -> Json:
        if not isinstance(value, dict):
            raise ValueError('must be an object of token ids and biases, such as {"1234": -100}')  # noqa: TRY004
        at_most(len(value), MOST_IDS, "token ids")
        return [_pair(key, bias, vocabulary) for key, bias in value.items() if bias is not None]

    def _pair(key: str, bias: Json, vocabulary: int | None) -> Json:
        number = int(key) if key.isascii() and key.isdigit() and len(key) <= MOST_DIGITS else key
        token_id = _within(_field(key), one, number, vocabulary)
        return [[token_id], _within(_field(key), amount, bias, vocabulary)]

    return Kind(check, {"type": "object", "additionalProperties": amount.schema, "maxProperties": MOST_IDS})


def decay() -> Kind:
    """Where an exponential length penalty starts, and its factor: `[20, 1.05]`."""
    start, factor = integer(0), number(0, 100, above=True)

    def check(value: Json, vocabulary: int | None) -> Json:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError("must be a start index and a factor, such as [20, 1.05]")
        return (_within("[0]", start, value[0], vocabulary), _within("[1]", factor, value[1], vocabulary))

    return Kind(check, {"type": "array", "prefixItems": [start.schema, factor.schema], "minItems": 2, "maxItems": 2})


def record(**fields: Kind) -> Kind:
    """An object with some of these fields and no others; null counts as not given."""

    def check(value: Json, vocabulary: int | None) -> Json:
        if not isinstance(value, dict):
            raise ValueError(f"must be an object with fields of {', '.join(fields)}")  # noqa: TRY004
        given = {name: item for name, item in value.items() if item is not None}
        for name in [each for each in given if each not in fields]:
            raise WithinError(_field(name), ValueError(f"is none of its fields, {', '.join(fields)}"), given[name])
        return {name: _within(_field(name), fields[name], item, vocabulary) for name, item in given.items()}

    properties = {name: kind.schema for name, kind in fields.items()}
    return Kind(check, {"type": "object", "properties": properties, "additionalProperties": False})


def _field(name: str) -> str:
    return f".{name[:MOST_OF_A_NAME]}"


def _json(value: Json) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else f'"{value}"'
