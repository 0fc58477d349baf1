"""Run Helm: the one that the development cluster builds, so that everybody renders with the same version."""

import subprocess

from devcluster.binaries import ensure_one
from devcluster.layout import Layout


def helm(*arguments: str) -> str:
    """Run helm and return what it prints; it is built first where it has not been.

    Raises:
        RuntimeError: with helm's own words, if it fails.
    """
    program = ensure_one(Layout.from_environment(), "helm")
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"helm {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
