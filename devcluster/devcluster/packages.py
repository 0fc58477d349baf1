"""Have the Debian packages that the cluster and the image builds stand on."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Final

from devcluster.commands import run
from devcluster.errors import CommandFailedError, DevclusterError
from devcluster.progress import step

# Program or file → the Debian package that brings it.
CLUSTER_NEEDS: Final[Mapping[str, str]] = {
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "socat": "socat",
    "ip": "iproute2",
    "busybox": "busybox-static",
}
BUILD_NEEDS: Final[Mapping[str, str]] = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def missing(needs: Mapping[str, str]) -> list[str]:
    """Name the packages whose program or file is not there."""
    lacking = {package for thing, package in needs.items() if shutil.which(thing) is None}
    return sorted(lacking)


def install(packages: Sequence[str]) -> None:
    """Install Debian packages; the package lists are fetched only when the ones at hand do not do.

    Raises:
        DevclusterError: This is no Debian or Ubuntu, or not root.
    """
    hint = f"install {' '.join(packages)} by hand, then run this again"
    if shutil.which("apt-get") is None:
        raise DevclusterError(f"{', '.join(packages)} not installed, and there is no apt-get", hint=hint)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    try:
        run(command, env=quiet, hint=hint)
    except CommandFailedError:
        update_lists()
        run(command, env=quiet, hint=hint)


def update_lists() -> None:
    """Fetch the package lists."""
    run(["apt-get", "update", "-qq"], hint="apt-get update must work: look at /etc/apt/sources.list*")


def ensure(needs: Mapping[str, str]) -> None:
    """Install what is missing of needs, as a step.

    Raises:
        DevclusterError: It cannot be installed.
    """
    with step("Debian packages") as current:
        lacking = missing(needs)
        if not lacking:
            current.cached()
            return
        install(lacking)
        current.note = " ".join(lacking)
