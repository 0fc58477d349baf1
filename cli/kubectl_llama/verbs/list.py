"""`list`: what is served."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import click

from kubectl_llama import options
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import LLAMA
from kubectl_llama.edge.kube import Object
from kubectl_llama.view import summary

LOOK_SECONDS: Final = 1.0


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, help="Those of all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", default="", help="Only those with these labels.")
@click.option("-w", "--watch", is_flag=True, help="Go on, and print each row that changes.")
@options.output_flag("json", "yaml", "name")
@options.kubectl_flags
def command(*, all_namespaces: bool, selector: str, watch: bool) -> None:
    """List what is served."""
    cluster = options.cluster()
    place = None if all_namespaces else options.namespace()
    found = cluster.list(LLAMA, place, labels=selector)
    form = options.state().output
    if form == "name":
        for row in found:
            terminal.result(_name(row))
    elif form:
        terminal.document({"items": [summary.as_json(row) for row in found]}, form)
    elif not found and not watch:
        where = "this cluster" if all_namespaces else f"namespace {place}"
        terminal.say(f"there is no LlamaDeployment in {where}; kubectl llama push --model REPO makes one")
    else:
        columns = ("NAMESPACE", *summary.COLUMNS) if all_namespaces else summary.COLUMNS
        for line in summary.table([_row(row, whole=all_namespaces) for row in found], columns):
            terminal.result(line)
    known = {_key(row): row for row in found}
    while watch:
        time.sleep(LOOK_SECONDS)
        rows = {_key(row): row for row in cluster.list(LLAMA, place, labels=selector)}
        for row in _news(known, rows):
            if form == "name":
                terminal.result(_name(row))
            elif form:
                terminal.result("---") if form == "yaml" else None
                terminal.document(summary.as_json(row), form)
            else:
                terminal.result("   ".join(_row(row, whole=all_namespaces)))
        known = rows


def _news(known: Mapping[tuple[str, str], Object], rows: Mapping[tuple[str, str], Object]) -> Iterator[Object]:
    """Yield what has changed, and what is there no more, as it was last but for its phase."""
    for key, row in rows.items():
        if key not in known or _shown(known[key]) != _shown(row):
            yield row
    for key in known.keys() - rows.keys():
        row = known[key]
        yield {**row, "status": {**(row.get("status") or {}), "phase": "Deleted"}}


def _name(body: Object) -> str:
    return f"llamadeployment.llama-operator.dev/{body['metadata']['name']}"


def _row(body: Object, *, whole: bool) -> tuple[str, ...]:
    row = summary.row(body, datetime.now(UTC))
    return (body["metadata"]["namespace"], *row) if whole else row


def _key(body: Object) -> tuple[str, str]:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _shown(body: Object) -> tuple[str, ...]:
    """Return what of a row counts as a change: not its age."""
    return summary.row(body, datetime.now(UTC))[:-1]
