"""`status`: how one deployment is doing."""

import time
from datetime import UTC, datetime
from typing import Final

import click

from kubectl_llama import options
from kubectl_llama.edge import terminal
from kubectl_llama.view import story, summary

LOOK_SECONDS: Final = 1.0


@click.command()
@options.name_argument(required=False)
@click.option("-w", "--watch", is_flag=True, help="Go on, and show what changes.")
@options.output_flag("json", "yaml")
@options.kubectl_flags
def command(name: str | None, *, watch: bool) -> None:
    """Show how a deployment is doing.

    The way of its start, its conditions with what to do, and what it has cost. Without NAME: the only one of the
    namespace.
    """
    name = name or options.the_only_name()
    form = options.state().output
    before: object = None
    while True:
        body = options.deployment(name)
        if form and body.get("status") != before:
            terminal.document(summary.as_json(body), form)
        elif not form:
            lines = [*story.story(body, datetime.now(UTC))]
            if lines[1:] != before or not watch:
                terminal.result("\n".join(lines))
            before = lines[1:]
        if not watch:
            return
        before = body.get("status") if form else before
        time.sleep(LOOK_SECONDS)
