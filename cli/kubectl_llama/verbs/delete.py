"""`delete`: end a deployment."""

import time
from typing import Final

import click

from kubectl_llama import options
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kinds import LLAMA, POD
from kubectl_llama.edge.kube import seconds
from kubectl_llama.errors import TimedOutError

LOOK_SECONDS: Final = 0.5


@click.command()
@options.name_argument()
@click.option("--wait/--no-wait", default=True, help="Wait until its pods are gone (the default), or do not.")
@click.option("--timeout", metavar="TIME", default="10m", show_default=True, help="How long to wait.")
@options.output_flag("name")
@options.kubectl_flags
def command(name: str, *, wait: bool, timeout: str) -> None:
    """Delete a deployment, with its pods, its Service and its cache; its Secrets stay."""
    limit = seconds(timeout, "--timeout")
    cluster, place = options.cluster(), options.namespace()
    body = options.deployment(name)
    cluster.delete(LLAMA, name, place)
    if options.state().output == "name":
        terminal.result(f"llamadeployment.llama-operator.dev/{name}")
    selector = (body.get("status") or {}).get("selector")
    start = time.monotonic()
    while wait and (cluster.get(LLAMA, name, place) or (selector and cluster.list(POD, place, labels=selector))):
        if time.monotonic() - start > limit:
            raise TimedOutError(
                f"{name} is not gone after {timeout}; it goes on", fix=f"look with: kubectl get pods -n {place}"
            )
        time.sleep(LOOK_SECONDS)
    terminal.say(f"deleted {name} from namespace {place}")
