"""What krew installs: an archive with the command's wheels and what starts them, and the manifest that names it.

`python -m tools.krew --url https://HOST/PATH --out dist` at a release; the archive goes where the URL says. What is not
in the archive, uv brings from the user's package index, for the user's platform.
"""

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

import click

from tools.generate import ROOT, dump

PROJECTS: Final = ("packages", "operator", "cli")
BIN: Final = "kubectl-llama"
LAUNCHER: Final = """#!/bin/sh
# kubectl llama as krew installs it: the wheels beside this file, in an environment that uv makes once and keeps.
set -eu
file=$0
while [ -L "$file" ]; do
    to=$(readlink "$file")
    case $to in /*) file=$to ;; *) file=$(dirname "$file")/$to ;; esac
done
if ! command -v uvx >/dev/null; then
    echo "error: kubectl llama needs uv on PATH" >&2
    echo "  fix: install it (https://docs.astral.sh/uv), or the command itself: pipx install kubectl-llama" >&2
    exit 7
fi
exec uvx --quiet --find-links "$(dirname "$file")/wheels" --from "kubectl-llama==@VERSION@" kubectl-llama "$@"
"""


def version() -> str:
    """Return the version of the command."""
    return str(tomllib.loads((ROOT / "cli" / "pyproject.toml").read_text())["project"]["version"])


def archive(folder: Path) -> bytes:
    """Return the archive; wheels are built into `folder`."""
    uv = shutil.which("uv") or str(Path.home() / ".cache" / "llama-operator" / "uv" / "bin" / "uv")
    for project in PROJECTS:
        subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT / project], check=True)
    files = {f"wheels/{wheel.name}": (wheel.read_bytes(), 0o644) for wheel in sorted(folder.glob("*.whl"))}
    files[BIN] = (LAUNCHER.replace("@VERSION@", version()).encode(), 0o755)
    files["LICENSE"] = ((ROOT / "LICENSE").read_bytes(), 0o644)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, (content, mode) in sorted(files.items()):
            row = tarfile.TarInfo(name)
            row.size, row.mode = len(content), mode
            tar.addfile(row, io.BytesIO(content))
    return packed.getvalue()


def manifest(url: str, packed: bytes) -> dict[str, Any]:
    """Return the manifest, as https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest has it."""
    name = f"kubectl-llama-{version()}.tar.gz"
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "llama"},
        "spec": {
            "version": f"v{version()}",
            "homepage": url,
            "shortDescription": "Serve, ask and look after Llama models",
            "description": "Pushes Llama models and Truss packages to a cluster with llama-operator, asks them over a\n"
            "port-forward, and says why one does not run.\n",
            "caveats": "It needs uv on PATH, and llama-operator in the cluster.\n",
            "platforms": [
                {
                    "selector": {"matchExpressions": [{"key": "os", "operator": "In", "values": ["linux", "darwin"]}]},
                    "uri": f"{url}/{name}",
                    "sha256": hashlib.sha256(packed).hexdigest(),
                    "bin": BIN,
                    "files": [{"from": name, "to": "."} for name in (BIN, "wheels", "LICENSE")],
                }
            ],
        },
    }


@click.command()
@click.option("--url", required=True, help="Where the archive will be.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("dist"), show_default=True)
def main(url: str, out: Path) -> None:
    """Write the archive and llama.yaml into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        packed = archive(Path(folder))
    out.mkdir(parents=True, exist_ok=True)
    (out / f"kubectl-llama-{version()}.tar.gz").write_bytes(packed)
    (out / "llama.yaml").write_text(dump(manifest(url.rstrip("/"), packed)))


if __name__ == "__main__":
    main()
