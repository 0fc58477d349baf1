"""An image's name stands for what goes into it."""

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

import pytest

from devcluster import images
from devcluster.errors import DevclusterError
from devcluster.images import Build, Image, Wheel, copied, plan, until

DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS runtime
# COPY secrets ./
COPY lock ./
RUN install

FROM ${BASE_IMAGE} AS code
COPY --chown=0:0 app/settings \\
     app/code ./
FROM runtime
COPY --from=code /venv /venv
"""
IMAGE = Image("app", "app/Dockerfile", foundation="runtime", torch=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository with one image."""
    files = {"lock": "1", "app/Dockerfile": DOCKERFILE, "app/settings": "", "app/code/main.py": "", "app/README": ""}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def planned(root: Path, *, base_image: str = "base:1", torches: tuple[Wheel, ...] = ()) -> Build:
    """The image as it would be built now."""
    return plan(IMAGE, base_image=base_image, torches=torches, root=root)


def test_a_dockerfile_says_what_it_copies() -> None:
    """Options, comments and what comes out of another stage are not of the context."""
    assert copied(DOCKERFILE) == ["lock", "app/settings", "app/code"]


def test_a_dockerfile_is_cut_off_behind_a_stage() -> None:
    """What stands below has no part in the stage's result."""
    assert until(DOCKERFILE, "runtime").endswith("RUN install\n\n")
    assert until(DOCKERFILE, "code").endswith("app/code ./\n")


@pytest.mark.parametrize(
    ("file", "content", "image", "foundation"),
    [
        ("app/code/main.py", "changed", True, False),
        ("app/code/new.py", "new", True, False),
        ("lock", "2", True, True),
        ("app/Dockerfile", DOCKERFILE + "USER 1\n", True, False),
        ("app/Dockerfile", DOCKERFILE.replace("RUN install", "RUN other"), True, True),
        ("app/README", "changed", False, False),
        ("app/code/__pycache__/main.pyc", "compiled", False, False),
        ("README.md", "new", False, False),
    ],
)
def test_a_name_changes_with_what_goes_in(root: Path, file: str, content: str, image: bool, foundation: bool) -> None:
    """The image's with any copied file, its foundation's with what is below the code; neither with any other."""
    before = planned(root)
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(content)
    after = planned(root)
    assert (before.reference != after.reference, before.foundation != after.foundation) == (image, foundation)


def test_a_program_that_is_made_to_run_is_another_content(root: Path) -> None:
    """Whether a file can be executed goes into the image, too."""
    before = planned(root).reference
    (root / "app/code/main.py").chmod(0o755)
    assert planned(root).reference != before


def test_a_name_changes_with_the_base_and_with_torch(root: Path) -> None:
    """Both are installed below the code."""
    wheel = Wheel(Path("/wheels/torch.whl"), "2.0+cpu", "cp311", "abc")
    builds = (planned(root), planned(root, base_image="base:2"), planned(root, torches=(wheel,)))
    assert len({build.reference for build in builds}) == 3
    assert len({build.foundation for build in builds}) == 3


def test_a_copy_of_the_repository_builds_the_same_image(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where it lies and when its files were written is not in the name."""
    copy = tmp_path_factory.mktemp("copy")
    for file in images.files(IMAGE, root):
        (copy / file.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (copy / file.relative_to(root)).write_bytes(file.read_bytes())
    assert planned(copy) == planned(root)


def test_what_is_to_be_copied_and_is_not_there_is_named(root: Path) -> None:
    """Before a build has begun."""
    (root / "lock").unlink()
    with pytest.raises(DevclusterError, match=r"lock is to be copied, and is not there"):
        planned(root)


@pytest.mark.parametrize("name", ["operator", "inference", "builder", "hub"])
def test_the_products_dockerfiles_copy_what_is_there(name: str) -> None:
    """Each of the repository's own images can be planned; tests are in none of them but the Hub's."""
    image = images.IMAGES[name]
    found = images.files(image)
    assert images.REPOSITORY / image.dockerfile in found
    assert len(found) > 5
    assert all(file.is_relative_to(images.REPOSITORY / "tests") is (name == "hub") for file in found)


def test_an_unknown_image_is_answered_with_those_there_are() -> None:
    """A slip of the pen is mended at once."""
    with pytest.raises(DevclusterError, match="operater") as caught:
        images.select(["operater"])
    assert "operator, inference, builder, index, hub" in caught.value.hint


def wheels(root: Path, folder: Path, environ: Mapping[str, str]) -> list[str]:
    """The requirements that wheels of these versions answer, found in folder."""
    (root / "uv.lock").write_text('[[package]]\nname = "torch"\nversion = "2.13.0"\n')
    folder.mkdir()
    machine = platform.machine()
    for name in (
        f"torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_{machine}.whl",
        f"torch-2.12.0+cpu-cp311-cp311-manylinux_2_28_{machine}.whl",
        "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_sparc.whl",
        f"torchvision-2.13.0-cp311-cp311-manylinux_2_28_{machine}.whl",
    ):
        (folder / name).write_text("wheel")
    return [wheel.requirement for wheel in images.wheels(root, environ)]


@pytest.mark.parametrize(
    ("folder", "environ"), [("../shared/wheels", {}), ("elsewhere", {"TORCH_WHEELS": "elsewhere"})]
)
def test_a_build_of_the_locked_torch_for_this_machine_is_found(
    tmp_path: Path, folder: str, environ: Mapping[str, str]
) -> None:
    """It is required by its hash: no other file is installed in its place."""
    root = tmp_path / "repository"
    root.mkdir()
    (tmp_path / "shared").mkdir()
    (found,) = wheels(root, root / folder, environ)
    assert found == f"torch==2.13.0+cpu --hash=sha256:{hashlib.sha256(b'wheel').hexdigest()}"


def test_without_a_folder_of_wheels_torch_is_the_locked_one(tmp_path: Path) -> None:
    """A machine without it builds the image for GPUs."""
    (tmp_path / "uv.lock").write_text('name = "torch"\nversion = "2.13.0"\n')
    assert images.wheels(tmp_path, {"TORCH_WHEELS": "nowhere"}) == []
