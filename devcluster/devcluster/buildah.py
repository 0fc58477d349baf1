"""Drive buildah, with its storage in our cache: nobody else's images are seen or touched."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import host, leftovers
from devcluster.commands import run, run_logged
from devcluster.layout import Layout

HINT = "see the log above; `rm -r` of buildah's storage in the cache starts from nothing"


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the machine that a build sees, read-only."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is built from."""

    dockerfile: Path
    context: Path
    arguments: Mapping[str, str]
    mounts: Sequence[Mount]


@dataclass(frozen=True, slots=True)
class Exported:
    """An image as files: its manifest, and where its blobs lie, each in a file named by its digest's digits."""

    manifest: bytes
    blobs: Path


class Buildah:
    """One storage of images."""

    def __init__(self, layout: Layout) -> None:
        self.storage = layout.build_storage
        self.state = layout.build_run

    def _argv(self, *arguments: str) -> list[str]:
        driver = "overlay" if host.snapshotter(self.storage) == "overlayfs" else "vfs"
        where = ["--root", str(self.storage), "--runroot", str(self.state), "--storage-driver", driver]
        return ["buildah", *where, *arguments]

    def _run(self, *arguments: str) -> str:
        return run(self._argv(*arguments), hint=HINT)

    def recover(self) -> None:
        """Remove what a build that was killed left: its containers, and their mounts."""
        if self.storage.exists():
            self._run("rm", "--all")
            leftovers.unmount([self.storage])

    def names(self) -> set[str]:
        """List the names of all images."""
        if not self.storage.exists():
            return set()
        listed = self._run("images", "--format", "{{.Name}}:{{.Tag}}").split()
        return {name for name in listed if not name.startswith("<none>")}

    def commit_tar(self, tar: Path, name: str) -> None:
        """Make an image of the files in tar."""
        container = self._run("from", "--name", "base", "scratch").strip()
        self._run("add", "--quiet", container, str(tar), "/")
        self._run("config", "--cmd", "/bin/sh", container)
        self._run("commit", "--quiet", "--rm", container, name)

    def ask(self, image: str, *command: str) -> str:
        """Run command in a container of image, and return what it prints."""
        container = self._run("from", "--pull-never", "--name", "question", image).strip()
        try:
            return self._run("run", "--isolation", "chroot", container, "--", *command).strip()
        finally:
            self._run("rm", container)

    def build(self, name: str, recipe: Recipe, *, log: Path, stage: str | None = None, **stages: str) -> None:
        """Build recipe, or it up to stage, with every layer kept for the next build.

        Args:
            name: What to call the image.
            recipe: What to build it from.
            log: Gets buildah's output.
            stage: The last stage to build; the Dockerfile's last one by default.
            stages: Stages that are not built, because these images are what they would make.

        Raises:
            CommandFailedError: buildah failed; its log is named.
        """
        options = ["--isolation", "chroot", "--layers", "--pull-never", "--format", "oci", "--tag", name]
        options += [f"--build-arg={key}={value}" for key, value in recipe.arguments.items()]
        options += [f"--volume={mount.source}:{mount.target}:ro" for mount in recipe.mounts]
        options += [f"--build-context={made}=container-image://{image}" for made, image in stages.items()]
        options += ["--target", stage] if stage else []
        argv = self._argv("build", *options, "--file", str(recipe.dockerfile), str(recipe.context))
        run_logged(argv, log=log, hint=HINT)

    def export_whole(self, name: str, folder: Path) -> Exported:
        """Write image name into folder; its layers stay as they are, not compressed."""
        self._run("push", "--quiet", "--disable-compression", "--format", "oci", name, f"dir:{folder}")
        return Exported((folder / "manifest.json").read_bytes(), folder)

    def export_upon(self, name: str, present: Iterable[Path], folder: Path) -> Exported:
        """Write of image name into folder what is not among present: files named by their digests.

        What is written is compressed, which takes its time: this is for an image of which most is present.
        """
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for file in present:
            (blobs / file.name).symlink_to(file)
        self._run("push", "--quiet", "--format", "oci", name, f"oci:{folder}:image")
        named = json.loads((folder / "index.json").read_text())["manifests"][0]["digest"]
        return Exported((blobs / named.partition(":")[2]).read_bytes(), blobs)

    def keep(self, names: Sequence[str]) -> None:
        """Remove every image but names and what they stand on."""
        outdated = sorted(self.names() - set(names))
        if outdated:
            self._run("rmi", "--force", *outdated)
        self._run("rmi", "--prune")
