"""`scale`: more replicas, or fewer."""

import click

from kubectl_llama import options
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import LLAMA


@click.command()
@options.name_argument()
@click.option("--replicas", type=click.IntRange(0, 1000), required=True, help="Pods that serve; 0 stops it.")
@options.output_flag("json", "yaml", "name")
@options.kubectl_flags
def command(name: str, *, replicas: int) -> None:
    """Change the number of replicas; 0 stops it and keeps the cache."""
    before = options.deployment(name)["spec"].get("replicas", 1)
    body = options.cluster().patch(LLAMA, name, options.namespace(), {"spec": {"replicas": replicas}})
    form = options.state().output
    if form == "name":
        terminal.result(f"llamadeployment.llama-operator.dev/{name}")
    elif form:
        terminal.document({"name": name, "namespace": options.namespace(), "replicas": body["spec"]["replicas"]}, form)
    terminal.say(f"{name} is to have {replicas} replicas, it had {before}; look with: kubectl llama status {name} -w")
