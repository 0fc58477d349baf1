"""`rollback`: run an earlier revision."""

import click

from kubectl_llama import options
from kubectl_llama.ask import way_back
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import LLAMA


@click.command()
@options.name_argument()
@click.option("--to", "revision", type=int, metavar="REVISION", help="This one; else the last that had served before.")
@click.option("--undo", is_flag=True, help="Run the spec again, as after its last change.")
@options.output_flag("json", "yaml", "name")
@options.kubectl_flags
def command(name: str, *, revision: int | None, undo: bool) -> None:
    """Go back to an earlier revision: the very pods that served, image and commit included."""
    to = None if undo else way_back.target(options.deployment(name), revision)
    options.cluster().patch(LLAMA, name, options.namespace(), {"spec": {"rollout": {"rollbackTo": to}}})
    form = options.state().output
    if form == "name":
        terminal.result(f"llamadeployment.llama-operator.dev/{name}")
    elif form:
        terminal.document({"name": name, "namespace": options.namespace(), "rollbackTo": to}, form)
    if to is None:
        terminal.say(f"{name} runs its spec again; look with: kubectl llama status {name} -w")
    else:
        terminal.say(
            f"{name} goes back to revision {to}, whatever else its spec says; kubectl llama rollback {name} --undo "
            f"runs the spec again; look with: kubectl llama status {name} -w"
        )
