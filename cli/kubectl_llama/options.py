"""The flags that every verb shares: kubectl's own, and how to print. They may stand before the verb or behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kubectl_llama.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kubectl_llama.edge.kube import Cluster

Command = TypeVar("Command", bound=Callable[..., Any])
COMPLETION_TIMEOUT: Final = "2s"
"""How long pressing Tab may wait for the cluster."""


@dataclass(slots=True)
class State:
    """What the flags have said so far, and the cluster once one is needed."""

    flags: dict[str, Any] = field(default_factory=dict[str, Any])
    cluster: "Cluster | None" = None

    @property
    def output(self) -> str:
        """The form of the output: `json`, `yaml`, `name`, or nothing for people."""
        return str(self.flags.get("output") or "")


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:  # noqa: ANN401  (whatever a flag holds)
    if value not in (None, (), False):
        ctx.ensure_object(State).flags[str(param.name)] = value


def _flag(*names: str, **settings: Any) -> Callable[[Command], Command]:  # noqa: ANN401
    return click.option(*names, expose_value=False, callback=_remember, **settings)


_KUBECTL: Final = (
    _flag("-n", "--namespace", metavar="NAME", help="Namespace; the context's if left out."),
    _flag("--context", metavar="NAME", help="Context of the kubeconfig."),
    _flag("--kubeconfig", metavar="FILE", help="The kubeconfig; else KUBECONFIG, else ~/.kube/config."),
    _flag("--as", "as_user", metavar="USER", help="Act as this user."),
    _flag("--as-group", metavar="GROUP", multiple=True, help="Act as a member of this group; may be repeated."),
    _flag(
        "--request-timeout",
        metavar="TIME",
        help="How long one request to the API server may take, such as 30s; 60s if left out, 0 for no limit.",
    ),
)


def kubectl_flags(command: Command) -> Command:
    """Give a command kubectl's own flags."""
    for flag in reversed(_KUBECTL):
        command = flag(command)
    return command


def output_flag(*forms: str) -> Callable[[Command], Command]:
    """Give a command `-o` with these forms."""
    return _flag("-o", "--output", type=click.Choice(forms), help="Print this form on standard output.")


def state() -> State:
    """Return the state of the running command."""
    return click.get_current_context().ensure_object(State)


def cluster() -> "Cluster":
    """Return the cluster that the flags name; it is connected to when it is first needed.

    Raises:
        ClusterError: if there is none.
    """
    here = state()
    if here.cluster is None:
        from kubectl_llama.edge.kubeconfig import connect  # noqa: PLC0415  (the client takes longer to import than --help)

        here.cluster = connect(here.flags)
    return here.cluster


def namespace() -> str:
    """Return the namespace that counts."""
    return str(state().flags.get("namespace") or cluster().namespace)


def deployment(name: str) -> Mapping[str, Any]:
    """Return a LlamaDeployment.

    Raises:
        NotFoundError: if there is none of that name; the message has the nearest.
    """
    from kubectl_llama.edge.kinds import LLAMA  # noqa: PLC0415

    found = cluster().get(LLAMA, name, namespace())
    if found is not None:
        return found
    names = [row["metadata"]["name"] for row in cluster().list(LLAMA, namespace())]
    raise NotFoundError(
        f"there is no LlamaDeployment {name} in namespace {namespace()}",
        fix=f"there are {', '.join(names)}" if names else "look with: kubectl llama list -A",
    )


def the_only_name() -> str:
    """Return the name of the only LlamaDeployment of the namespace.

    Raises:
        UsageError: if there are several.
        NotFoundError: if there is none.
    """
    from kubectl_llama.edge.kinds import LLAMA  # noqa: PLC0415

    names = [row["metadata"]["name"] for row in cluster().list(LLAMA, namespace())]
    if not names:
        raise NotFoundError(
            f"there is no LlamaDeployment in namespace {namespace()}", fix="look with: kubectl llama list -A"
        )
    if len(names) > 1:
        raise UsageError(f"namespace {namespace()} has {', '.join(names)}", fix="name one of them", field="NAME")
    return names[0]


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """Complete the name of a LlamaDeployment; without a cluster there is nothing to say."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from kubectl_llama.edge.kinds import LLAMA  # noqa: PLC0415
    from kubectl_llama.edge.kubeconfig import connect  # noqa: PLC0415
    from kubectl_llama.errors import CliError  # noqa: PLC0415

    here = ctx.ensure_object(State)
    try:
        found = here.cluster or connect({**here.flags, "request_timeout": COMPLETION_TIMEOUT})
        rows = found.list(LLAMA, str(here.flags.get("namespace") or found.namespace))
    except CliError:
        return []
    names = (str(row["metadata"]["name"]) for row in rows)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def name_argument(*, required: bool = True) -> Callable[[Command], Command]:
    """Give a command the argument NAME, which shells complete from the cluster."""
    return click.argument("name", required=required, metavar="NAME" if required else "[NAME]", shell_complete=_names)
