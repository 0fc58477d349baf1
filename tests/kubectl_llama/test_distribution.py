"""The distribution as users install it: a command of its own, without what only the operator's process needs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.generate import ROOT

pytestmark = pytest.mark.slow
UV = shutil.which("uv") or str(Path.home() / ".cache" / "llama-operator" / "uv" / "bin" / "uv")


def uv(*args: str | Path) -> str:
    """Run uv."""
    done = subprocess.run([UV, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and what it needs, at the versions of the lock."""
    folder = tmp_path_factory.mktemp("cli")
    wheels, environment, locked = folder / "wheels", folder / "environment", folder / "locked.txt"
    for project in ("operator", "packages", "cli"):
        uv("build", "--quiet", "--wheel", "--out-dir", wheels, ROOT / project)
    uv("venv", "--quiet", "--python", sys.executable, environment)
    locked.write_text(
        uv("export", "--quiet", "--frozen", "--no-hashes", "--no-emit-workspace", "--all-packages", "--directory", ROOT)
    )
    uv(
        *("pip", "install", "--quiet", "--python", environment / "bin" / "python", "--find-links", wheels),
        *("--constraints", locked, "kubectl-llama"),
    )
    return environment


def test_it_brings_neither_torch_nor_kopf(installed: Path) -> None:
    """Nor the asynchronous client's server side: what decides is all it takes of the operator."""
    rows = json.loads(uv("pip", "list", "--format", "json", "--python", installed / "bin" / "python"))
    names = {row["name"] for row in rows}
    assert {"kubectl-llama", "llama-operator", "kubernetes", "rich"} <= names
    assert names.isdisjoint(
        {"torch", "transformers", "kopf", "prometheus-client", "pydantic-settings", "llama-inference"}
    )


def test_it_installs_the_names_that_kubectl_looks_for(installed: Path) -> None:
    """kubectl-llama for the verbs, kubectl_complete-llama for completion; each runs."""
    env = {"KUBECONFIG": "/dev/null", "HOME": str(installed), "PATH": "/usr/bin:/bin"}
    plan = ("push", "--model", "org/tiny", "--gpu", "0", "--dry-run", "client")
    done = subprocess.run(
        [installed / "bin" / "kubectl-llama", *plan], env=env, capture_output=True, text=True, check=True
    )
    assert "repo: org/tiny" in done.stdout
    completed = subprocess.run(
        [installed / "bin" / "kubectl_complete-llama", "pre"], env=env, capture_output=True, text=True, check=True
    )
    assert completed.stdout.split()[0] == "predict"
    assert completed.stdout.splitlines()[-1] == ":4"
