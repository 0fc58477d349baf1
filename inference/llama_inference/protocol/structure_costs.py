"""What would cost too much to compile, found in a schema or a grammar before anything compiles it.

A schema's `multipleOf` becomes an automaton with a state for each remainder, and where several meet at one number, for
each remainder of their least common multiple. A grammar's rules are followed from one to the next on the stack.
"""

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from llama_inference.errors import InvalidRequestError
from llama_inference.values import Json

MOST_MULTIPLE: Final = 10_000  # remainders: 99991 takes seconds, and 999983 hundreds of MiB
MOST_RULES: Final = 500
_JSON: Final = re.compile(r"%json\s*")
# Where a line defines a rule or a terminal: `name:`, `name[…]:`, `NAME.1:`, `name{…}:`, `name::=`, with what Lark
# allows in front. It takes some lines more for definitions, and none less.
_RULE: Final = re.compile(r"(?:\A|[\r\n])[ \t]*[?!]*[^\W\d][\w-]*[ \t]*[:\[.{]")


def check_schema(schema: Json, param: str) -> None:
    """Refuse a schema whose numbers are multiples of too much.

    Raises:
        InvalidRequestError: naming the place within `param`.
    """
    common = 1
    for path, value in _multiples(schema, param):
        own = _without_point(value)
        if own > MOST_MULTIPLE:
            message = f"{path} is {value}: the digits of a multipleOf may be {MOST_MULTIPLE} at most, without the point"
            raise InvalidRequestError(message, code="invalid_structure", param=path)
        common = math.lcm(common, own)
        if common > MOST_MULTIPLE:
            message = (
                f"{path} is {value}: the least common multiple of every multipleOf in a schema may be {MOST_MULTIPLE} "
                f"at most, and with this one it is {common}"
            )
            raise InvalidRequestError(message, code="invalid_structure", param=path)


def check_grammar(text: str, param: str) -> None:
    """Refuse a grammar, Lark's or GBNF, of too many rules, and one with a schema as `check_schema` does.

    Raises:
        InvalidRequestError: naming the place within `param`.
    """
    rest, begin = "", 0
    while found := _JSON.search(text, begin):
        rest += text[begin : found.end()]
        try:
            schema, begin = json.JSONDecoder().raw_decode(text, found.end())
        except (ValueError, RecursionError):  # for the grammar's own parser to tell
            begin = found.end()
        else:
            check_schema(schema, f"{param}.%json")
    rules = len(_RULE.findall(rest + text[begin:]))
    if rules > MOST_RULES:
        message = f"{param} must have at most {MOST_RULES} rules and terminals, and has {rules}"
        raise InvalidRequestError(message, code="invalid_structure", param=param)


def _multiples(schema: Json, param: str) -> Iterator[tuple[str, int | float]]:
    """Every number under the name multipleOf, and its path."""
    rest: list[tuple[str, Json]] = [(param, schema)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, list):
            rest += [(f"{path}[{place}]", each) for place, each in enumerate(value)]
        elif isinstance(value, dict):
            for name, each in value.items():
                place = f"{path}.{name[:100]}"
                number = isinstance(each, int | float) and not isinstance(each, bool)
                if name == "multipleOf" and number and math.isfinite(each):
                    yield place, each
                rest.append((place, each))


def _without_point(value: float) -> int:
    """The digits that count: 125 of 12.5 and of 12500; 1 of nothing."""
    digits = "".join(map(str, Decimal(str(value)).as_tuple().digits)).strip("0")
    return int(digits or "1")
