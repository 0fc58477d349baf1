"""What the server would refuse at its start, refused with the spec: generation, golden prompts, engine arguments.

`server_contract.json` is made from the server's own tables by `make generate`: the two programs share no code, and are
of one mind all the same. Where the spec names an image of its own, its server may know more: then a name that is not
known here is left for it to judge.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from llama_operator.errors import SpecError
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.schema_check import holds

FILE: Final = "server_contract.json"
_MOST_SHOWN: Final = 60


@cache
def contract() -> Mapping[str, Any]:
    """Return the server's tables: parameters, what is refused, what each backend honours, arguments of `serve`."""
    return json.loads((files("llama_operator.spec") / FILE).read_text())


def check(spec: LlamaDeploymentSpec) -> None:
    """Hold a spec against what the server takes.

    Raises:
        SpecError: naming the field, and what it has to be.
    """
    for field, message in _faults(spec):
        raise SpecError(field, message)


def _faults(spec: LlamaDeploymentSpec) -> Iterator[tuple[str, str]]:
    known = spec.engine.image is None
    defaults = spec.generation.defaults.model_dump(exclude_none=True)
    maximums = spec.generation.maximums.model_dump(exclude_none=True)
    for name, value in maximums.items():
        if said := maximum_fault(name, value, known=known):
            yield f"spec.generation.maximums.{name}", said
    for name, value in defaults.items():
        field = f"spec.generation.defaults.{name}"
        if said := fault(name, value, spec.engine.name, known=known):
            yield field, said
        elif name in maximums and value > maximums[name]:
            yield field, f"it is {value}, above spec.generation.maximums.{name}: {maximums[name]}"
    yield from _golden(spec, known=known)
    if known:
        yield from ((f"spec.engine.args[{at}]", said) for at, said in arguments_faults(spec.engine.args))


def fault(name: str, value: Any, backend: str, *, known: bool = True) -> str | None:  # noqa: ANN401
    """Return why a parameter cannot have a value; None if it can. `known` is False where others may be known too."""
    tables = contract()
    if name in tables["refused"]:
        return f"{name} is not accepted: {tables['refused'][name]}"
    row = tables["parameters"].get(name)
    if row is None:
        return f"there is no parameter {name[:100]}{_near(name)}" if known else None
    if not holds(row["schema"], value):
        return f"{name} {row['must']}; it is {_shown(value)}"
    honoured = tables["honoured"].get(backend)
    if honoured is None or name in honoured or value in tables["nothing_asked"].get(name, ()):
        return None
    others = [other for other, names in tables["honoured"].items() if name in names]
    return (
        f"{name} is {_shown(value)}, and spec.engine.name {backend} cannot honour it; "
        f"{' and '.join(('native', 'transformers', *others))} can"
    )


def maximum_fault(name: str, value: Any, *, known: bool = True) -> str | None:  # noqa: ANN401
    """Return why there can be no such maximum; None if there can."""
    rows = contract()["parameters"]
    if name not in rows and not known:
        return None
    if name not in rows or not rows[name]["numeric"]:
        numeric = ", ".join(sorted(key for key, row in rows.items() if row["numeric"]))
        return f"there is no numeric parameter of this name{_near(name)}; there are {numeric}"
    return None if holds(rows[name]["schema"], value) else f"{name} {rows[name]['must']}; it is {_shown(value)}"


def _golden(spec: LlamaDeploymentSpec, *, known: bool) -> Iterator[tuple[str, str]]:
    for at, prompt in enumerate(spec.rollout.golden_prompts):
        path = f"spec.rollout.goldenPrompts[{at}]"
        for name, value in prompt.parameters.items():
            refused = contract()["golden_refused"].get(name)
            said = f"{name} is not accepted: {refused}" if refused else None
            if said := said or fault(name, value, spec.engine.name, known=known):
                yield f"{path}.parameters.{name}", said
        if (pattern := prompt.expect.matches) is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"{path}.expect.matches", f"it is no regular expression of Python's: {error}"


def arguments_faults(args: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield what `llama-inference serve` would not take, with its place in the list."""
    options, rest = contract()["arguments"], iter(enumerate(args))
    for at, arg in rest:
        name, given, value = arg.partition("=")
        if name not in options:
            near = difflib.get_close_matches(name, options, n=1) if arg.startswith("-") else ()
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(options)}"
            yield at, f"llama-inference serve has no argument {_shown(arg)}; {known}"
        elif not options[name]["takes_value"]:
            if given:
                yield at, f"{name} takes no value: write {name} alone"
        elif not given and (value := next(rest, (0, None))[1]) is None:
            yield at, f"{name} needs a value"
        elif not holds(options[name]["schema"], _read(value)):
            yield at, f"{name} {options[name]['must']}; it is {_shown(value)}"


def _read(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, contract()["parameters"], n=1)
    return f"; did you mean {near[0]}?" if near else "; docs/predict.md lists what there is"


def _shown(value: Any) -> str:  # noqa: ANN401
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}…"
