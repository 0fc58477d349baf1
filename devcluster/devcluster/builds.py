"""Build the images that have changed, and give them to the cluster."""

import os
import shutil
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Final

from devcluster import access, base, host, images, loads, packages
from devcluster.buildah import Buildah, Mount, Recipe
from devcluster.cache import locked, workspace
from devcluster.images import REPOSITORY, Build
from devcluster.layout import Layout
from devcluster.progress import step

WHEELS: Final = "/wheels"


def build(layout: Layout, names: Iterable[str], *, load: bool) -> None:
    """Build each image whose content has changed; what the present files no longer name is removed.

    Args:
        layout: Whose cache to build in, and which cluster to load into.
        names: Which images; all when empty.
        load: Load them into the cluster, too.

    Raises:
        DevclusterError: A step failed, with its command, log and hint.
    """
    host.require_root()
    wanted = images.select(names)
    with locked(layout.build_lock):
        packages.ensure(packages.BUILD_NEEDS)
        buildah = Buildah(layout)
        buildah.recover()
        plans = images.plans()
        present = buildah.names()
        builds = [_build(layout, buildah, plans[image.name], present) for image in wanted]
        if buildah.names() != present:
            with step("remove outdated images"):
                plans |= {build.image.name: build for build in builds}
                buildah.keep([name for build in plans.values() for name in build.kept])
        if load:
            loads.load_builds(layout, buildah, builds)


def _build(layout: Layout, buildah: Buildah, plan: Build, present: Container[str]) -> Build:
    """Build plan unless it is there; returns what was built: the files may have changed since they were planned."""
    if plan.reference in present:
        with step(f"build {plan.image.name}") as current:
            current.cached()
        return plan
    if plan.base not in buildah.names():
        _build_base(layout, buildah, plan.base)
    with workspace(layout.work) as work:
        plan = _snapshot(plan, work / "tree")
        recipe = _recipe(buildah, plan, work)
        if plan.foundation not in buildah.names():
            _build_foundation(layout, buildah, plan, recipe)
        with step(f"build {plan.image.name}"):
            made = {plan.image.foundation: plan.foundation} if plan.image.foundation else {}
            buildah.build(plan.reference, recipe, log=_log(layout, plan.image.name), **made)
    return plan


def _snapshot(plan: Build, tree: Path) -> Build:
    """Copy exactly the files that an image's name stands for, readable for the image's user, and name it by the copy.

    So an image holds what its name says, even while somebody edits the files.
    """
    for file in images.files(plan.image):
        target = tree / file.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
    for folder in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return images.plan(plan.image, base_image=plan.base, torches=plan.torches, root=tree)


def _log(layout: Layout, name: str) -> Path:
    return layout.cache / "log" / f"build-{name}.log"


def _build_base(layout: Layout, buildah: Buildah, name: str) -> None:
    with step("build base"), workspace(layout.work) as work:
        tar = work / "base.tar"
        suite = base.codename(Path("/etc/os-release").read_text())
        base.make(tar, suite, log=_log(layout, "base"))
        buildah.commit_tar(tar, name)


def _build_foundation(layout: Layout, buildah: Buildah, plan: Build, recipe: Recipe) -> None:
    name = f"{plan.image.name}-{plan.image.foundation}"
    with step(f"build {name}"):
        buildah.build(plan.foundation, recipe, stage=plan.image.foundation, log=_log(layout, name))
        if plan.tools:
            # It is made already; without a name it would be removed.
            buildah.build(plan.tools, recipe, stage=plan.image.tools, log=_log(layout, f"{plan.image.name}-tools"))


def _recipe(buildah: Buildah, plan: Build, work: Path) -> Recipe:
    tree, mounts = work / "tree", _mounts(work)
    arguments = {"BASE_IMAGE": plan.base}
    if wheel := _torch(buildah, plan):
        arguments["TORCH"] = wheel.requirement
        mounts.append(Mount(wheel.path.parent, WHEELS))
    return Recipe(tree / plan.image.dockerfile, tree / plan.image.context, arguments, mounts)


def _torch(buildah: Buildah, plan: Build) -> images.Wheel | None:
    """The build of torch at hand that suits the base's Python."""
    if not plan.torches:
        return None
    tag = "import sys; print('cp%d%d' % sys.version_info[:2])"
    python = buildah.ask(plan.base, "python3", "-c", tag)
    return next((wheel for wheel in plan.torches if wheel.python == python), None)


def _mounts(work: Path) -> list[Mount]:
    reach = access.of_machine(os.environ)
    conf = work / "pip.conf"
    conf.touch(mode=0o600)
    conf.write_text(reach.pip_conf)
    mounts = [Mount(conf, access.PIP_CONF), *(Mount(path, str(path)) for path in reach.paths)]
    netrc = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    return [*mounts, Mount(netrc, access.NETRC)] if netrc.is_file() else mounts
