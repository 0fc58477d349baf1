"""The environment of the genuine truss server, and packages laid out by truss itself; both are kept in the cache."""

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from devcluster.cache import locked

HERE: Final = Path(__file__).parent
PACKAGES: Final = HERE / "packages"
ROOT: Final = HERE.parents[2]
_LAY_OUT: Final = """
import sys, pathlib, shutil
from truss.truss_handle.build import load
into = pathlib.Path(sys.argv[1])
for package in map(pathlib.Path, sys.argv[2:]):
    context, layout = into / "contexts" / package.name, into / package.name
    load(package).docker_build_setup(build_dir=context)
    shutil.copytree(context / "server", layout / "app")
    for name in ("model", "data"):
        if (context / name).is_dir():
            shutil.copytree(context / name, layout / "app" / name)
    shutil.copy(context / "config.yaml", layout / "app/config.yaml")
    packages = context / "packages"
    shutil.copytree(packages, layout / "packages") if packages.is_dir() else (layout / "packages").mkdir()
shutil.rmtree(into / "contexts")
"""


@cache
def environment() -> Path:
    """The folder of the environment; it is made where it is not there, which takes the package index."""
    found = subprocess.run([ROOT / "tools/truss.sh"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(found.stdout.strip())


@cache
def layouts() -> Path:
    """A folder with a layout of each package of this one, as truss's image has it: app/ and packages/."""
    folders = sorted(path.parent for path in PACKAGES.glob("*/config.yaml") if (path.parent / "model").is_dir())
    return lay_out(folders)


def lay_out(folders: list[Path]) -> Path:
    """Have truss lay out the packages in `folders`; what has been laid out once is there at once."""
    digest = hashlib.sha256(_LAY_OUT.encode() + str(environment()).encode())
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            digest.update(f"{folder.name}/{path.relative_to(folder)}\0".encode() + path.read_bytes())
    laid_out = environment().parent / f"truss-layouts-{digest.hexdigest()[:16]}"
    with locked(environment().parent / "truss-layouts.lock"):
        if not laid_out.is_dir():
            fresh = laid_out.with_suffix(".part")
            shutil.rmtree(fresh, ignore_errors=True)
            command = [environment() / "bin/python", "-W", "ignore", "-c", _LAY_OUT, fresh, *folders]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "HOME": str(fresh)})
            fresh.rename(laid_out)
    return laid_out
