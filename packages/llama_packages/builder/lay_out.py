"""Lay a package out as its image would be, by the genuine truss: the first half of the environment Job.

Needs truss and uv beside it, and no network. What it finds wrong is no failure of this program: it is written down for
the other half (`environment`), which tells it to the operator. That half runs on the package's own Python, without
anything installed, so it is copied beside uv into the work folder.
"""

import importlib
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from llama_packages import archive
from llama_packages.builder import environment
from llama_packages.check import check, from_git

SOURCE, CONTEXT, LAYOUT = "source", "context", "layout"
_IGNORED: Final = shutil.ignore_patterns("__pycache__", ".git")


def lay_out(package: Path, work: Path, *, uv: Path) -> None:
    """Write below `work` the layout, its requirements, plan.json, and the programs of the other half.

    Args:
        package: an archive, or the folder of a package.
        work: an empty folder.
        uv: the uv to hand on.
    """
    programs = work / "bin"
    programs.mkdir(parents=True)
    shutil.copy(uv, programs / "uv")
    shutil.copy(environment.__file__, programs / "environment.py")
    try:
        plan = _laid_out(package, work)
    except archive.PackageError as error:
        plan = {"error": str(error)}
    (work / "plan.json").write_text(json.dumps(plan))


def _laid_out(package: Path, work: Path) -> dict[str, Any]:
    source = work / SOURCE
    if package.is_file():
        for name, file in archive.entries(package.read_bytes()).items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            path.chmod(0o755 if file.executable else 0o644)
    else:
        shutil.copytree(package, source, ignore=_IGNORED)
    config = source / archive.CONFIG
    if not config.is_file():
        raise archive.PackageError(
            f"there is no {archive.CONFIG} in the package's folder: correct spec.package.claim.path"
        )
    config.write_bytes(archive.without_secrets(config.read_bytes()))
    said = archive.read_config(config.read_bytes())
    if refused := check(said).refused:
        raise archive.PackageError(f"{archive.CONFIG}: {refused[0].field} {refused[0].words}")
    full = _build_context(source, work / CONTEXT)
    _arrange(work, full)
    return {"requirements": _requirements(work / CONTEXT, full), "external_data": full.get("external_data") or []}


def _build_context(source: Path, context: Path) -> dict[str, Any]:
    """Let truss validate the package and make the context of its image; return the config that it wrote.

    Raises:
        PackageError: in truss's own words.
    """
    logging.disable(logging.WARNING)
    try:
        # By its name, for it takes seconds and is not installed where this is only read.
        truss = importlib.import_module("truss.truss_handle.build")
        truss.load(str(source)).docker_build_setup(build_dir=context)
    except Exception as error:  # noqa: BLE001  (truss raises whatever the part that it asks raises)
        words = " ".join(str(error).split()) or type(error).__name__
        raise archive.PackageError(f"truss does not take the package ({words[:500]}): correct it there") from None
    return archive.read_config((context / archive.CONFIG).read_bytes())


def _arrange(work: Path, config: dict[str, Any]) -> None:
    """Put the files where the context's Dockerfile would copy them."""
    context, app = work / CONTEXT, work / LAYOUT / "app"
    packages = work / LAYOUT / "packages"
    shutil.copytree(context / "server", app)
    module = config["model_module_dir"]
    model = context / module / config["model_class_filename"]
    if not model.is_file():
        raise archive.PackageError(
            f"the package has no {module}/{config['model_class_filename']}: add it, or correct model_module_dir and "
            "model_class_filename"
        )
    shutil.copytree(context / module, app / module, ignore=_IGNORED, dirs_exist_ok=True)
    shutil.copy(context / archive.CONFIG, app / archive.CONFIG)
    if (context / config["data_dir"]).is_dir():
        shutil.copytree(context / config["data_dir"], app / "data")
    if (context / config["bundled_packages_dir"]).is_dir():
        shutil.copytree(context / config["bundled_packages_dir"], packages, ignore=_IGNORED)
    else:
        packages.mkdir()


def _requirements(context: Path, config: dict[str, Any]) -> list[str]:
    """Return the files with requirements, by their paths below the context; truss has merged its own with the user's.

    Raises:
        PackageError: the requirements_file is of a kind that is not served, or is not there.
    """
    found = ["requirements.txt"]
    # Only one index is asked: the operator's or the spec's.
    merged = context / found[0]
    merged.write_text("".join(f"{line}\n" for line in merged.read_text().splitlines() if not line.startswith("-i ")))
    if named := config.get("requirements_file"):
        name = Path(named).name
        if name == "uv.lock":
            raise archive.PackageError(
                "requirements_file is uv.lock: name the pyproject.toml beside it, or a requirements.txt"
            )
        found.append(name if name == "pyproject.toml" else "user_requirements.txt")
        if not (context / found[-1]).is_file():
            raise archive.PackageError(
                f"the package has no {named}, which requirements_file names: add it, or correct it"
            )
        if found[-1] != name:
            for line in (context / found[-1]).read_text(errors="replace").splitlines():
                if words := from_git(line):
                    raise archive.PackageError(f"{named} {words}")
    return found


def main() -> None:
    """Run as `python -m llama_packages.builder.lay_out PACKAGE WORK UV`."""
    package, work, uv = map(Path, sys.argv[1:])
    lay_out(package, work, uv=uv)


if __name__ == "__main__":
    main()
