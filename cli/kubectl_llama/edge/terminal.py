"""Where output goes: results to standard output, everything for people to standard error; colours on terminals only."""

import json
import sys
from contextlib import AbstractContextManager
from functools import cache

import click
import yaml
from rich.console import Console
from rich.live import Live


@cache
def _console(stream: int) -> Console:  # noqa: ARG001  (one for each stream, which tests replace)
    return Console(stderr=True, highlight=False, soft_wrap=True)


def people() -> Console:
    """Return the console of standard error."""
    return _console(id(sys.stderr))


def say(text: str, style: str = "") -> None:
    """Tell people something."""
    people().print(text, style=style or None, markup=False)


def result(text: str) -> None:
    """Print a line of the result."""
    click.echo(text)


def document(value: object, form: str) -> None:
    """Print a result as JSON or YAML."""
    plain = json.loads(json.dumps(value))
    click.echo(
        json.dumps(plain, indent=2) if form == "json" else yaml.safe_dump(plain, sort_keys=False), nl=form == "json"
    )


def is_live() -> bool:
    """Whether people look at a terminal that can show a moving view."""
    return people().is_terminal


def live() -> AbstractContextManager[Live]:
    """Open a view that is drawn anew in place; it stays as it was last."""
    return Live(console=people(), refresh_per_second=8, transient=False)
