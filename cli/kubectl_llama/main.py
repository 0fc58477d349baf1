"""The command: finds the verb, imports it alone, and turns errors into messages and exit codes."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click

from kubectl_llama.errors import INTERRUPTED, CliError, UsageError
from kubectl_llama.options import State, kubectl_flags

PROGRAM: Final = "kubectl llama"
DEBUG: Final = "KUBECTL_LLAMA_DEBUG"
"""Set in the environment, the traceback of an error of this program itself is shown."""
VERBS: Final[Mapping[str, str]] = {
    "push": "Serve a model, or change what is served, and wait for it.",
    "predict": "Ask a model once, and print its answer as it came; on a terminal it is indented.",
    "chat": "Talk with a model: a line is a question, /help names the commands.",
    "list": "List what is served.",
    "status": "Show how a deployment is doing.",
    "logs": "Print what the servers of a deployment say: time, replica, level, message.",
    "diagnose": "Say why a deployment does not serve, and what to do.",
    "plan": "Say what a push would create, and whether this cluster can hold it.",
    "rollback": "Go back to an earlier revision: the very pods that served, image and commit included.",
    "scale": "Change the number of replicas; 0 stops it and keeps the cache.",
    "delete": "Delete a deployment, with its pods, its Service and its cache; its Secrets stay.",
    "init": "Write a new Truss package into a folder: config.yaml and model/model.py.",
    "import-truss": "Print the manifests that stand for a package: its ConfigMap and its LlamaDeployment.",
    "completion": "Print what makes a shell complete names, for kubectl-llama.",
}
"""Each verb with its line in the help; it is imported only when it is used, for imports are what a start takes."""


class Verbs(click.Group):
    """The verbs, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click asks so)
        """Return the names of all verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click asks so)
        """Import a verb."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"kubectl_llama.verbs.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click asks so)
        """Write the list of verbs without importing any."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kubectl-llama", prog_name=PROGRAM)
@kubectl_flags
def group() -> None:
    """Llama models on your own Kubernetes.

    \b
    kubectl llama push --model meta-llama/Llama-2-70b-chat-hf
    kubectl llama predict llama-2-70b-chat-hf -d '{"prompt": "What is the meaning of life?"}'
    """


def run(args: Sequence[str], state: State | None = None) -> int:
    """Run a command line and return its exit code; `state` may hold a cluster to use."""
    state = state or State()
    try:
        group.main(list(args), prog_name=PROGRAM, standalone_mode=False, obj=state)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has enough of it
        sys.stderr.close()
        return 0
    except Exception as error:  # noqa: BLE001  (the last that can be done: one line, and where to see more)
        return report(error, state.output or form_of(args))
    return 0


def report(error: Exception, form: str) -> int:
    """Say what went wrong: to people on standard error, and in the form that was asked for on standard output."""
    if isinstance(error, click.ClickException):
        param: click.Parameter | None = getattr(error, "param", None)
        field = getattr(error, "option_name", "") or (max(param.opts, key=len) if param is not None else "")
        _document(CliError(error.format_message(), field=field, code=UsageError.code), form)
        error.show()
        return error.exit_code
    told = error if isinstance(error, CliError) else _broken(error)
    _document(told, form)
    click.echo(f"error: {told}", err=True)
    if told.fix:
        click.echo(f"  fix: {told.fix}", err=True)
    return told.exit_code


def _document(error: CliError, form: str) -> None:
    if form in ("json", "yaml") and not error.told:
        import json  # noqa: PLC0415

        click.echo(json.dumps(error.as_json(), indent=2))


def _broken(error: Exception) -> CliError:
    """Return what is said where this program is wrong: the kind alone, for its words may hold a secret."""
    if os.environ.get(DEBUG):
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    what = f"kubectl llama itself has failed: {type(error).__name__}"
    return CliError(what, fix=f"{DEBUG}=1 shows where", code="Internal")


def form_of(args: Sequence[str]) -> str:
    """Return the form that a command line asks for, though it may be wrong elsewhere and was never understood."""
    form = ""
    for arg, behind in zip(args, (*args[1:], ""), strict=True):
        if arg == "--":
            break
        if arg in ("-o", "--output"):
            form = behind
        elif arg.startswith("--output="):
            form = arg.removeprefix("--output=")
        elif arg.startswith("-o"):
            form = arg.removeprefix("-o").removeprefix("=")
    return form


def main() -> None:
    """Run as `kubectl-llama`, which kubectl finds on PATH."""
    sys.exit(run(sys.argv[1:]))


def complete() -> None:
    """Run as `kubectl_complete-llama`, by which kubectl's own completion asks its plugins."""
    from click.shell_completion import ShellComplete  # noqa: PLC0415

    *before, incomplete = sys.argv[1:] or [""]
    found = ShellComplete(group, {}, PROGRAM, "").get_completions(before, incomplete)
    for item in found:
        click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(":4")  # cobra's word for: offer no files
