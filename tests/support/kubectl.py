"""kubectl against the cluster of KUBECONFIG, or the development cluster where that is unset."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_DEVCLUSTER = Path(sys.executable).with_name("devcluster")
_SCRIPT = 'eval "$("$0" env)" && echo "$KUBECONFIG" && echo "$PATH"'


@cache
def environment() -> Mapping[str, str]:
    """The environment in which kubectl is found and speaks to the cluster."""
    if "KUBECONFIG" in os.environ:
        return os.environ
    command = ["bash", "-c", _SCRIPT, str(_DEVCLUSTER)]
    kubeconfig, path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {**os.environ, "KUBECONFIG": kubeconfig, "PATH": path}


def kubectl(*args: str, stdin: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl with an object on its standard input; its exit code is the caller's to judge."""
    text = None if stdin is None else json.dumps(stdin)
    return subprocess.run(
        ["kubectl", *args], input=text, text=True, capture_output=True, check=False, timeout=60, env=environment()
    )


def kubectl_ok(*args: str, stdin: Mapping[str, Any] | None = None) -> str:
    """Run kubectl and return what it prints.

    Raises:
        AssertionError: with its error output, if it fails.
    """
    done = kubectl(*args, stdin=stdin)
    assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
    return done.stdout
