"""The images that are built here, each named by the content of what goes into it; nothing is built or loaded here."""

import hashlib
import os
import platform
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster import base
from devcluster.cache import digest, digest_files
from devcluster.errors import DevclusterError

REPOSITORY: Final = Path(__file__).resolve().parents[2]
REGISTRY: Final = "localhost/llama-operator"


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its Dockerfile and the folder that is its context, below the repository's root.

    foundation is the stage of the Dockerfile that holds all but the code: it is an image of its own, made anew only
    when what it copies changes. tools is the stage whose result every build needs.
    """

    name: str
    dockerfile: str
    context: str = "."
    foundation: str | None = None
    tools: str | None = None
    torch: bool = False


IMAGES: Final[Mapping[str, Image]] = {
    image.name: image
    for image in (
        Image("operator", "operator/Dockerfile", foundation="runtime", tools="tools"),
        Image("inference", "inference/Dockerfile", foundation="runtime", tools="tools", torch=True),
        Image("builder", "packages/Dockerfile", foundation="runtime", tools="tools"),
        Image("index", "tests/support/package_index/Dockerfile", context="tests/support/package_index"),
        Image("hub", "tests/support/hub/Dockerfile", context="tests/support/hub"),
    )
}


def select(names: Iterable[str]) -> list[Image]:
    """Look names up; none means all.

    Raises:
        DevclusterError: There is no such image.
    """
    wanted = list(names) or list(IMAGES)
    if unknown := [name for name in wanted if name not in IMAGES]:
        raise DevclusterError(f"no image is called {', '.join(unknown)}", hint=f"there are {', '.join(IMAGES)}")
    return [IMAGES[name] for name in wanted]


def copied(dockerfile: str) -> list[str]:
    """List what a Dockerfile copies out of its context."""
    found: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True) if line.startswith(("COPY ", "ADD ")) else []
        if not any(word.startswith("--from=") for word in words):
            found += [word for word in words[1:-1] if not word.startswith("--")]
    return found


def until(dockerfile: str, stage: str) -> str:
    """Cut a Dockerfile off behind the stage of that name."""
    lines = dockerfile.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    named = next(number for number in starts if lines[number].split()[2:] == ["AS", stage])
    return "".join(lines[: next((number for number in starts if number > named), len(lines))])


def content(context: Path, dockerfile: str) -> list[Path]:
    """List the files that a Dockerfile of that text copies out of context, compiled Python excepted.

    Raises:
        DevclusterError: Something is not there.
    """
    found: set[Path] = set()
    for source in copied(dockerfile):
        path = context / source
        if not path.exists():
            raise DevclusterError(f"{path} is to be copied, and is not there", hint="use a complete checkout")
        found.update([path] if path.is_file() else (file for file in path.rglob("*") if file.is_file()))
    return sorted(file for file in found if "__pycache__" not in file.parts)


def files(image: Image, root: Path = REPOSITORY) -> list[Path]:
    """List all files that image is made from: its Dockerfile and what that copies.

    Raises:
        DevclusterError: Something is not there.
    """
    dockerfile = _dockerfile(image, root)
    return sorted({dockerfile, *content(root / image.context, dockerfile.read_text())})


def _dockerfile(image: Image, root: Path) -> Path:
    if not (root / image.dockerfile).is_file():
        raise DevclusterError(f"there is no {root / image.dockerfile}", hint="use a complete checkout")
    return root / image.dockerfile


@dataclass(frozen=True, slots=True)
class Wheel:
    """A build of torch that is at hand."""

    path: Path
    version: str
    python: str
    sha256: str

    @property
    def requirement(self) -> str:
        """What pip reads: this very file and no other."""
        return f"torch=={self.version} --hash=sha256:{self.sha256}"


def wheels(root: Path, environ: Mapping[str, str]) -> list[Wheel]:
    """Find builds of the locked torch for this machine, in TORCH_WHEELS or else ../shared/wheels."""
    folder = root / (environ.get("TORCH_WHEELS") or "../shared/wheels")
    locked = re.search(r'^name = "torch"\nversion = "(.+)"$', (root / "uv.lock").read_text(), re.MULTILINE)
    if locked is None:
        return []
    form = re.compile(rf"torch-({re.escape(locked[1])}[^-]*)-(cp\d+)-.+_{re.escape(platform.machine())}\.whl")
    found = ((path, form.fullmatch(path.name)) for path in sorted(folder.glob("torch-*.whl")))
    return [Wheel(path.resolve(), match[1], match[2], _sha256(path)) for path, match in found if match]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Build:
    """An image as it would be built now. Names stand for content: two builds under one name are alike.

    foundation names the image that holds all but the code, or the base.
    """

    image: Image
    reference: str
    foundation: str
    base: str
    torches: tuple[Wheel, ...]

    @property
    def tools(self) -> str | None:
        """Under what name the stage with the tools is kept."""
        return f"{REGISTRY}/{self.image.name}-tools:latest" if self.image.tools else None

    @property
    def kept(self) -> list[str]:
        """All images that the next build can use."""
        return [name for name in (self.base, self.tools, self.foundation, self.reference) if name]


def base_reference() -> str:
    """The name of the base image."""
    suite = base.codename(Path("/etc/os-release").read_text())
    return f"{REGISTRY}/base:dev-{base.key(suite, platform.machine())}"


def plan(image: Image, *, base_image: str, torches: Iterable[Wheel], root: Path = REPOSITORY) -> Build:
    """Name image and its foundation by the Dockerfile, the files it copies, the base and torch."""
    chosen = tuple(torches) if image.torch else ()
    context, text = root / image.context, _dockerfile(image, root).read_text()

    def key(part: str) -> str:
        files = digest_files(context, content(context, part))
        return digest(base_image, part, files, *(wheel.requirement for wheel in chosen))

    foundation = base_image
    if image.foundation:
        foundation = f"{REGISTRY}/{image.name}-{image.foundation}:dev-{key(until(text, image.foundation))}"
    return Build(image, f"{REGISTRY}/{image.name}:dev-{key(text)}", foundation, base_image, chosen)


def plans(root: Path = REPOSITORY, environ: Mapping[str, str] = os.environ) -> dict[str, Build]:
    """Every image as it would be built now."""
    base_image, torches = base_reference(), wheels(root, environ)
    return {name: plan(image, base_image=base_image, torches=torches, root=root) for name, image in IMAGES.items()}
