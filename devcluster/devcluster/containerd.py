"""Ask our containerd about images and containers, and give it images."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from devcluster import host
from devcluster.buildah import Exported
from devcluster.commands import run, run_fed
from devcluster.layout import BUSYBOX_IMAGE, PAUSE_IMAGE, Layout
from devcluster.oci import archive, bundle

HINT = "run `devcluster up`, or see `devcluster logs containerd`"


def ctr(layout: Layout, *arguments: str, stdin: bytes = b"") -> str:
    """Run ctr in the namespace of Kubernetes."""
    return run(_argv(layout, *arguments), hint=HINT, stdin=stdin)


def _argv(layout: Layout, *arguments: str) -> list[str]:
    return [str(layout.bin / "ctr"), "--address", str(layout.containerd_socket), "-n", "k8s.io", *arguments]


def _import(layout: Layout, source: str) -> list[str]:
    return ["images", "import", "--snapshotter", host.snapshotter(layout.state), source]


def image_digests(layout: Layout) -> dict[str, str]:
    """Each image's name → its manifest's digest."""
    rows = (line.split() for line in ctr(layout, "images", "list").splitlines()[1:])
    return {row[0]: row[2] for row in rows if len(row) > 2}


def load_archive(layout: Layout, file: Path) -> list[str]:
    """Load an OCI or Docker archive; returns the names that were not there before, or are another image now.

    Raises:
        CommandFailedError: It is no such archive.
    """
    before = image_digests(layout)
    ctr(layout, *_import(layout, str(file)))
    return sorted(name for name, digest in image_digests(layout).items() if before.get(name) != digest)


def blobs(layout: Layout) -> dict[str, Path]:
    """Each blob that containerd holds: digest → file."""
    folder = layout.images / "io.containerd.content.v1.content" / "blobs"
    digests = ctr(layout, "content", "list", "--quiet").split()
    return {digest: folder / digest.replace(":", "/") for digest in digests}


def load_exported(layout: Layout, name: str, image: Exported) -> int:
    """Load an exported image as name; returns how many bytes containerd did not hold yet."""
    present = blobs(layout)
    sizes: list[int] = []

    def feed(sink: BinaryIO) -> None:
        sizes.append(bundle(name, image.manifest, image.blobs, present, sink))

    run_fed(_argv(layout, *_import(layout, "-")), feed, hint=HINT)
    return sum(sizes)


def outdated(digests: Mapping[str, str], *, current: Collection[str], used: Iterable[str]) -> list[str]:
    """Choose the images to remove.

    Args:
        digests: Each image's name → its manifest's digest. The CRI gives each image a second name, sha256:….
        current: Images to keep; one that differs from one of them in the tag alone is outdated.
        used: What containers run; it is kept, too.
    """
    kept = {*current, *used}
    repositories = {name.rpartition(":")[0] for name in current}
    old = {name for name in digests if name.rpartition(":")[0] in repositories and name not in kept}
    named = {digest for name, digest in digests.items() if not name.startswith("sha256:") and name not in old}
    return sorted(
        old | {name for name, digest in digests.items() if name.startswith("sha256:") and digest not in named}
    )


def remove_outdated(layout: Layout, current: Iterable[str]) -> None:
    """Remove what `outdated` chooses."""
    rows = (line.split() for line in ctr(layout, "containers", "list").splitlines()[1:])
    used = [row[1] for row in rows if len(row) > 1]
    if names := outdated(image_digests(layout), current=list(current), used=used):
        ctr(layout, "images", "remove", *names)


def remove_containers(layout: Layout) -> None:
    """Forget all containers and their snapshots; their processes must be gone."""
    names = ctr(layout, "containers", "list", "--quiet").split()
    if names:
        ctr(layout, "containers", "remove", *names)


def load_own_images(layout: Layout, pause: Path, busybox: Path) -> bool:
    """Load the images that the cluster itself runs, unless they are there; returns whether any was loaded."""
    applets = run([str(busybox), "--list"], hint="busybox must run").split()
    wanted = (
        archive(PAUSE_IMAGE, {"pause": pause.read_bytes()}, links={}, entrypoint=["/pause"]),
        archive(
            BUSYBOX_IMAGE,
            {"bin/busybox": busybox.read_bytes()},
            links={f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"},
            entrypoint=[],
        ),
    )
    present = set(image_digests(layout).values())
    missing: Sequence[bytes] = [data for data, digest in wanted if digest not in present]
    for data in missing:
        ctr(layout, *_import(layout, "-"), stdin=data)
    return bool(missing)
