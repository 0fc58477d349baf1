"""`import-truss`: a package as manifests, for whoever applies them otherwise."""

from typing import Any

import click
import yaml

from kubectl_llama import options
from kubectl_llama.ask import package, resource
from kubectl_llama.edge import terminal
from kubectl_llama.errors import UsageError
from kubectl_llama.verbs.pushed import pushed, pushed_flags_of_a_package


@click.command()
@pushed_flags_of_a_package
@options.kubectl_flags
def command(**given: Any) -> None:  # noqa: ANN401  (click's own values)
    """Print the manifests that stand for a package: its ConfigMap and its LlamaDeployment.

    No cluster is needed, but for the namespace where -n does not say it.

    \b
    kubectl llama import-truss ./chat -n models > chat.yaml
    """
    found = pushed(given)
    if found.package is None:
        raise UsageError("there is no package", fix="name its folder", field="DIR")
    body = resource.placed(found.body, options.namespace())
    resource.checked(body)
    for fault in found.faults:
        terminal.say(f"warning: {fault}")
    documents = (package.config_map(found.package, body), body)
    terminal.result(yaml.safe_dump_all(documents, sort_keys=False, width=10**6).rstrip())
