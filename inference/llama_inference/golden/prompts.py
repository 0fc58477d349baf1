"""Golden prompts, pure: the setting → checked prompts; an answer → what is wrong with it.

`golden.gate` asks them. The setting is `spec.rollout.goldenPrompts` of the LlamaDeployment, passed on as JSON.
"""

import operator
import re
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Final

from llama_inference.errors import ConfigurationError, InvalidRequestError
from llama_inference.protocol.parameters import check
from llama_inference.values import Json

PATH: Final = "spec.rollout.goldenPrompts"
LONGEST_NAME: Final = 100
SHOWN: Final = 120  # characters of a text that a message repeats
BEFORE: Final = 30  # of them, in front of the first difference
FIELDS: Final = ("name", "prompt", "messages", "parameters", "expect")
GREEDY: Final[Mapping[str, Json]] = {"do_sample": False, "num_beams": 1}  # an answer that repeats, unless asked else
REFUSED: Final[Mapping[str, str]] = {
    "stream": "a golden prompt is answered whole",
    "return_full_text": "expect is held against the output alone",
}


def _matches(text: str, pattern: str) -> bool:
    return re.search(pattern, text) is not None


CHECKS: Final[Mapping[str, tuple[str, Callable[[str, str], bool]]]] = {
    "equals": ("that equals", operator.eq),
    "startsWith": ("that starts with", str.startswith),
    "contains": ("that contains", operator.contains),
    "matches": ("that matches", _matches),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPrompt:
    """One prompt and what its answer must be.

    Attributes:
        name: what messages call it.
        request: the body of a predict request; its parameters are greedy unless they say otherwise.
        kind: a key of `CHECKS`.
        expected: the text, or for `matches` the regular expression.
    """

    name: str
    kind: str
    expected: str
    request: Json = field(default_factory=dict[str, Json])

    def difference(self, text: str) -> str | None:
        """Return what is wrong with an answer, in a bounded number of characters; None when it is as expected."""
        words, holds = CHECKS[self.kind]
        if holds(text, self.expected):
            return None
        if self.kind in ("equals", "startsWith"):
            at = _first_difference(self.expected, text)
            where = f"; they differ from character {at + 1} on"
        else:
            at, where = 0, ""
        return f"expected text {words} {_shown(self.expected, at)}, got {_shown(text, at)}{where}"


def parse(given: Seq[Mapping[str, Json]]) -> tuple[GoldenPrompt, ...]:
    """Check the setting, as far as that can be done without the model.

    Raises:
        ConfigurationError: naming the field of `spec.rollout.goldenPrompts` and what it must be.
    """
    return tuple(_parse(row, f"{PATH}[{index}]", index) for index, row in enumerate(given))


def _parse(row: Mapping[str, Json], path: str, index: int) -> GoldenPrompt:
    if unknown := set(row) - set(FIELDS):
        raise ConfigurationError(f"{path}.{min(unknown)}: there is no such field; there are {', '.join(FIELDS)}")
    name = name_of(row, path, index)
    kind, expected = expectation(row.get("expect"), f"{path}.expect")
    parameters = _parameters(row.get("parameters", {}), f"{path}.parameters")
    return GoldenPrompt(name=name, kind=kind, expected=expected, request={**_input(row, path), **GREEDY, **parameters})


def name_of(row: Mapping[str, Json], path: str, index: int) -> str:
    """Return what messages call it: the name that it has, else its number.

    Raises:
        ConfigurationError: it has a name that is none.
    """
    name = row.get("name", f"number {index + 1}")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise ConfigurationError(f"{path}.name must be a string of 1 to {LONGEST_NAME} characters")
    return name


def _input(row: Mapping[str, Json], path: str) -> dict[str, Json]:
    names = [name for name in ("prompt", "messages") if name in row]
    if len(names) != 1:
        raise ConfigurationError(f"{path} must hold either prompt or messages")
    value = row[names[0]]
    if names == ["prompt"] and not (isinstance(value, str) and value):
        raise ConfigurationError(f"{path}.prompt must be a non-empty string")
    return {names[0]: value}


def _parameters(value: Json, path: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path} must be an object: parameter of predict → value")
    for name, reason in REFUSED.items():
        if name in value:
            raise ConfigurationError(f"{path}.{name} is not accepted: {reason}")
    for name, given in value.items():
        try:
            check(name, given)
        except InvalidRequestError as error:
            raise ConfigurationError(f"{path}.{name}: {error}") from None
    return value


def expectation(value: Json, path: str) -> tuple[str, str]:
    """Return the kind of a check and what it compares with.

    Raises:
        ConfigurationError: saying what `expect` must hold.
    """
    kinds = ", ".join(CHECKS)
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(CHECKS):
        raise ConfigurationError(f"{path} must hold one of {kinds}, with a text")
    ((kind, expected),) = value.items()
    if not isinstance(expected, str) or not (expected or kind == "equals"):
        raise ConfigurationError(f"{path}.{kind} must be a non-empty string")
    if kind == "matches":
        try:
            re.compile(expected)
        except re.error as error:
            raise ConfigurationError(f"{path}.matches is no regular expression: {error}") from None
    return kind, expected


def _first_difference(left: str, right: str) -> int:
    """The index of the first character that differs."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))


def _shown(text: str, around: int) -> str:
    """A piece of a text, quoted, that has the place `around` in it."""
    start = max(0, around - BEFORE) if len(text) > SHOWN else 0
    piece = text[start : start + SHOWN]
    return f"{'…' if start else ''}{piece!r}{'…' if start + SHOWN < len(text) else ''}"
