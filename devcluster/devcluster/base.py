"""Make the base of all images: this machine's own distribution, with Python and nothing that does not serve it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from devcluster import packages
from devcluster.cache import digest
from devcluster.commands import run, run_logged
from devcluster.errors import DevclusterError

INCLUDE: Final = ("ca-certificates", "python3", "python3-venv")
# Distribution → its keys.
ORIGINS: Final[Mapping[str, Path]] = {
    "Debian": Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    "Ubuntu": Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
}
# What speaks of this machine: its mirrors and proxies, its name, its name servers; and what is of no use.
TRACES: Final = (
    "etc/apt/sources.list*",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/hostname",
    "etc/resolv.conf",
    "var/cache/*",
    "var/log/*",
)
OPTIONS: Final = (
    "--variant=minbase",
    f"--include={','.join(INCLUDE)}",
    *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "info", "locale", "man")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    # An old Python is found out here rather than by the first package that does not know it.
    """--customize-hook=chroot "$1" python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'""",
    f'--customize-hook=cd "$1" && rm -rf {" ".join(TRACES)}',
)
HINT: Final = "the Debian mirror must be reachable, and Python 3.11 be in the distribution (Debian 12, Ubuntu 24.04)"


def codename(os_release: str) -> str:
    """Read the distribution's name, e.g. bookworm, from the text of /etc/os-release.

    Raises:
        DevclusterError: This is no Debian or Ubuntu.
    """
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    if name := values.get("VERSION_CODENAME", "").strip('"'):
        return name
    raise DevclusterError("the distribution has no codename", hint="images are built on Debian and Ubuntu")


def key(suite: str, machine: str) -> str:
    """Name what the base is made from."""
    return digest(suite, machine, *OPTIONS)


def sources(targets: str, suite: str) -> list[str]:
    """Choose from the machine's package sources the distribution's own: the mirrors that it can reach.

    Args:
        targets: A line for each, as `apt-get indextargets` prints TARGET_FORMAT.
        suite: The distribution's codename; its updates and security fixes are taken, too.
    """
    rows = (line.split("|") for line in targets.splitlines())
    return [
        f"deb [signed-by={ORIGINS[origin]}] {uri} {release} {component}"
        for uri, release, component, origin in rows
        if origin in ORIGINS and release in {suite, f"{suite}-updates", f"{suite}-security"}
    ]


TARGET_FORMAT: Final = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"


def _own_sources(suite: str) -> list[str]:
    command = ["apt-get", "indextargets", "--format", TARGET_FORMAT, "Identifier: Packages"]
    found = sources(run(command, hint=HINT), suite)
    if not found:
        # Where the lists were deleted, as in container images, apt does not know whose sources they are.
        packages.update_lists()
        found = sources(run(command, hint=HINT), suite)
    return found


def connection(dump: str) -> list[str]:
    """Keep from `apt-config dump`'s output how the machine reaches its mirrors: proxies and certificates."""
    ways = ("Acquire::http::", "Acquire::https::")
    return [line for line in dump.splitlines() if line.startswith(ways) and not line.endswith('"";')]


def make(tar: Path, suite: str, *, log: Path) -> None:
    """Write the base's files into tar.

    Raises:
        CommandFailedError: mmdebstrap failed; its log is named.
    """
    listed = tar.with_suffix(".list")
    listed.write_text("".join(f"{line}\n" for line in _own_sources(suite)))
    ways = connection(run(["apt-config", "dump"], hint="apt must be installed"))
    # Where the list is empty, mmdebstrap knows the distribution's own mirror.
    mirror = [str(listed)] if listed.read_text() else []
    run_logged(
        ["mmdebstrap", *OPTIONS, *(f"--aptopt={way}" for way in ways), suite, str(tar), *mirror],
        log=log,
        hint=HINT,
        # The caller's TMPDIR may lie where devices cannot be made.
        env={"TMPDIR": str(tar.parent)},
    )
    listed.unlink()
