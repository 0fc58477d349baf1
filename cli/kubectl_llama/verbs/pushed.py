"""What is pushed: the flags that say so, and the LlamaDeployment that they mean. For push, plan and import-truss."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from kubectl_llama import options
from kubectl_llama.ask import model_code, package, resource
from kubectl_llama.ask.package import Package
from kubectl_llama.edge import terminal
from kubectl_llama.edge.kube import Object
from kubectl_llama.errors import NotFoundError, UsageError

_FLAGS: Final = (
    click.argument("directory", required=False, metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path)),
    click.option("-f", "--filename", metavar="FILE", help="A LlamaDeployment; - reads standard input."),
    click.option("--model", metavar="REPO", help="A model of the Hub, such as meta-llama/Llama-2-70b-chat-hf."),
    click.option("--revision", metavar="REV", help="Branch, tag or commit of the model."),
    click.option("--name", metavar="NAME", help="Name of the deployment; else that of the model or package."),
    click.option("--gpu", metavar="PRODUCT:N", help="GPUs of a replica, such as A100:2; 0 runs on CPUs."),
    click.option(
        "--secret",
        "secrets",
        metavar="[NAME=]SECRET[/KEY]",
        multiple=True,
        help="The Secret with the Hub token; of a package, where its secret NAME comes from, and it may be repeated.",
    ),
    click.option("--python", metavar="VERSION", help="Python of a package, such as 3.11; else as config.yaml says."),
    click.option("--index-url", metavar="URL", help="Package index for the requirements of a package."),
    click.option(
        "--image",
        metavar="REF@DIGEST",
        help="Image of the package, built from what `truss image build-context` writes and pushed to a registry, in "
        "place of the folder's files; for system_packages and build_commands. docs/packages.md tells more.",
    ),
    click.option("--set", "sets", metavar="PATH=VALUE", multiple=True, help="A field of the spec; may be repeated."),
)


def pushed_flags(command: options.Command) -> options.Command:
    """Give a command the flags that say what is pushed."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


def pushed_flags_of_a_package(command: options.Command) -> options.Command:
    """Give a command the same, and show those alone that are for a package."""
    command = pushed_flags(command)
    flags: list[click.Parameter] = getattr(command, "__click_params__", [])
    for flag in flags:
        if isinstance(flag, click.Option) and flag.name in ("filename", "model", "revision"):
            flag.hidden = True
    return command


@dataclass(frozen=True, slots=True)
class Pushed:
    """The LlamaDeployment, and the package that it serves, if it does."""

    body: Object
    package: Package | None = None

    @property
    def faults(self) -> list[str]:
        """What is wrong with the package's code, found without running it."""
        if self.package is None or not (self.package.folder / "config.yaml").is_file():
            return []
        file = self.package.folder / model_code.file_of(self.package.config)
        source = file.read_text(errors="replace") if file.is_file() else None
        names = package.secret_names(self.package.config)
        return [str(row) for row in model_code.read(source, self.package.config, names)]


def pushed(given: Mapping[str, Any]) -> Pushed:
    """Return what the flags describe.

    Raises:
        UsageError: if they describe nothing, or two things.
        RefusedError: if it is a package that cannot be served.
    """
    folder = given["directory"]
    if folder is None and given["filename"] is None and given["model"] is None and Path("config.yaml").is_file():
        folder = Path()  # as truss has it: the package of the working folder
    chosen = [row for row in (folder, given["filename"], given["model"]) if row is not None]
    if len(chosen) != 1:
        raise UsageError(
            "there is nothing to push" if not chosen else "there are several things to push",
            fix="give a package's folder, or --model REPO, or -f FILE",
        )
    if folder is not None:
        return _of_package(folder, given)
    _only_of(given, ("python", "index_url", "image"), "a package")
    if given["model"] is not None:
        return Pushed(
            resource.of_model(
                given["model"],
                name=given["name"],
                revision=given["revision"],
                gpu=given["gpu"],
                secret=_one(given["secrets"]),
                sets=given["sets"],
            )
        )
    _only_of(given, ("revision", "gpu", "secrets"), "--model and packages, write it in the file or use --set")
    where = str(given["filename"])
    body = resource.of_file(read(where), where, name=given["name"], sets=given["sets"])
    if written := body["metadata"].get("namespace"):
        options.state().flags.setdefault("namespace", written)  # as kubectl has it: the file's, unless -n is there
    return Pushed(body)


def _of_package(folder: Path, given: Mapping[str, Any]) -> Pushed:
    _only_of(given, ("revision",), "--model")
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", field="DIR")
    found = package.opened(folder)
    for row in found.ignored:
        terminal.say(f"ignored: {row.field}: {row.words}")
    names = ("name", "gpu", "python", "index_url", "image", "secrets", "sets")
    return Pushed(package.deployment(found, **{name: given[name] for name in names}), found)


def _one(secrets: tuple[str, ...]) -> str | None:
    if len(secrets) > 1:
        raise UsageError("a model has one --secret, that of the Hub token", field="--secret")
    return secrets[0] if secrets else None


def _only_of(given: Mapping[str, Any], flags: tuple[str, ...], of: str) -> None:
    wrong = [f"--{name.rstrip('s').replace('_', '-')}" for name in flags if given[name]]
    if wrong:
        raise UsageError(f"{' and '.join(wrong)} is for {of}", field=wrong[0])


def read(where: str, flag: str = "--filename") -> str:
    """Return the text of a file; `-` is standard input.

    Raises:
        NotFoundError: if it cannot be read.
        UsageError: if it is no text.
    """
    try:
        return (sys.stdin.buffer.read() if where == "-" else Path(where).read_bytes()).decode()
    except UnicodeDecodeError as error:
        name = "standard input" if where == "-" else where
        raise UsageError(f"{name} is not UTF-8, at byte {error.start}", field=flag) from None
    except OSError as error:
        raise NotFoundError(f"{where} cannot be read: {error.strerror or error}") from None
