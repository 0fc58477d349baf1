"""docs/kubectl-llama-reference.md: every verb with its flags, out of the command itself."""

import inspect
from collections.abc import Iterator

import click

from kubectl_llama.main import VERBS, group
from kubectl_llama.options import State


def markdown() -> str:
    """Return the page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield from (
        "# kubectl llama: every verb and flag",
        "",
        "Generated from the command by `make generate`. [kubectl-llama.md](kubectl-llama.md) tells how to use it.",
        "Flags that all verbs share may stand before the verb as well as behind it.",
        "",
        *_flags(group, shared=True),
        "",
    )
    shared = {option for param in group.params for option in param.opts}
    context = click.Context(group, info_name="kubectl llama", obj=State())
    for name in VERBS:
        command = group.get_command(context, name)
        if command is None:
            raise LookupError(name)
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join((inner.command_path, *command.collect_usage_pieces(inner)))
        yield from (f"## {name}", "", "```", usage, "```", "", *_words(inspect.cleandoc(command.help or "")), "")
        rows = [*_flags(command, shared=False, but=frozenset(shared))]
        yield from (*rows, "") if len(rows) > 2 else ()


def _words(text: str) -> Iterator[str]:
    """Yield the help; what click is told not to wrap is an example."""
    for part in text.split("\n\n"):
        lines = part.strip().splitlines()
        if lines and lines[0] == "\b":
            lines = ["```sh", *lines[1:], "```"]
        yield from ("", *lines) if not text.startswith(part) else lines


def _flags(command: click.Command, *, shared: bool, but: frozenset[str] = frozenset()) -> Iterator[str]:
    yield from ("| flag | what it does |", "|---|---|")
    for param in command.params:
        known = but.intersection(param.opts)
        if not isinstance(param, click.Option) or param.hidden or known or (shared and "--version" in param.opts):
            continue
        if "--help" in param.opts:
            continue
        names = ", ".join((*param.opts, *param.secondary_opts))
        value = "" if param.is_flag else f" {param.make_metavar(click.Context(command))}"
        default = f" Default: {param.default}." if param.show_default else ""
        yield f"| `{names}{value.replace('|', chr(92) + '|')}` | {param.help}{default} |"
