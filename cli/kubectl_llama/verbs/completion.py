"""`completion`: what makes a shell complete verbs, flags, and names from the cluster."""

import click
from click.shell_completion import get_completion_class

from kubectl_llama.edge import terminal
from kubectl_llama.errors import UsageError


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print what makes a shell complete names, for kubectl-llama.

    For `kubectl llama` itself nothing is needed but kubectl's own completion: it asks kubectl_complete-llama, which is
    installed beside this command.

    \b
    source <(kubectl llama completion bash)
    kubectl llama completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"{shell} is not known")
    group = click.get_current_context().find_root().command
    terminal.result(kind(group, {}, "kubectl-llama", "_KUBECTL_LLAMA_COMPLETE").source())
