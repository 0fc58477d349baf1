"""Give images to the running cluster: only what it does not hold yet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from devcluster import containerd, host, images
from devcluster.buildah import Buildah, Exported
from devcluster.cache import locked, workspace
from devcluster.errors import DevclusterError
from devcluster.images import REGISTRY, Build
from devcluster.layout import Layout
from devcluster.progress import step

MIB: Final = 1 << 20


def load(layout: Layout, image: str) -> list[str]:
    """Load an archive, or an image that was built, by its name or its full reference.

    Returns:
        The references that the cluster has now and had not before.

    Raises:
        DevclusterError: There is neither such a file nor such an image.
    """
    host.require_root()
    if Path(image).is_file():
        with step(f"load {image}"):
            return containerd.load_archive(layout, Path(image))
    with locked(layout.build_lock):
        buildah = Buildah(layout)
        plan = next((plan for name, plan in images.plans().items() if image in {name, plan.reference}), None)
        if plan is None or plan.reference not in buildah.names():
            raise DevclusterError(f"no file and no image is called {image}", hint="run `devcluster build` first")
        return load_builds(layout, buildah, [plan])


def load_builds(layout: Layout, buildah: Buildah, builds: Iterable[Build]) -> list[str]:
    """Load what was built; earlier builds of the same images go, unless a container runs them.

    Returns:
        The references that the cluster has now and had not before.
    """
    loaded: list[str] = []
    current: list[str] = []
    for plan in builds:
        present = containerd.image_digests(layout)
        current += [plan.foundation, plan.reference]
        if plan.reference in present:
            with step(f"load {plan.image.name}") as cached:
                cached.cached()
            continue
        if plan.foundation not in present:
            _load(layout, buildah, plan.foundation, whole=True)
        _load(layout, buildah, plan.reference, whole=False)
        loaded.append(plan.reference)
    containerd.remove_outdated(layout, current)
    return loaded


def _load(layout: Layout, buildah: Buildah, reference: str, *, whole: bool) -> None:
    name = reference.removeprefix(f"{REGISTRY}/").partition(":")[0]
    with step(f"load {name}") as current, workspace(layout.work) as work:
        image = _export(layout, buildah, reference, work / "image", whole=whole)
        size = containerd.load_exported(layout, reference, image)
        current.note = f"{size / MIB:.1f} MiB"


def _export(layout: Layout, buildah: Buildah, reference: str, folder: Path, *, whole: bool) -> Exported:
    if whole:
        return buildah.export_whole(reference, folder)
    return buildah.export_upon(reference, containerd.blobs(layout).values(), folder)
