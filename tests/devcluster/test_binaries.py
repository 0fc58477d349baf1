"""The programs are built again when what they are built from changes, and only then."""

import shutil
from pathlib import Path

import pytest

from devcluster import binaries
from devcluster.binaries import SOURCES, build_sets


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the Go module."""
    return Path(shutil.copytree(SOURCES, tmp_path / "cluster"))


def keys(sources: Path) -> dict[str, str]:
    """Each set's key."""
    return {wanted.name: wanted.key for wanted in build_sets(sources)}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The sets that are to be built again."""
    return {name for name in before if before[name] != after[name]}


def append(file: Path, text: str) -> None:
    """Change file."""
    file.write_text(file.read_text() + text)


def test_nothing_is_built_for_a_copy_of_the_same(sources: Path) -> None:
    """Where the module lies is no part of the key."""
    assert keys(sources) == keys(SOURCES)


def test_a_change_of_our_own_commands_leaves_kubernetes_alone(sources: Path) -> None:
    """Building that takes minutes."""
    before = keys(sources)
    append(sources / "cmd" / "pause" / "main.go", "// changed\n")
    assert changed(before, keys(sources)) == {"pause, fake GPU plugin"}


def test_another_version_of_a_module_builds_what_stands_on_it(sources: Path) -> None:
    """Helm and the others have modules of their own."""
    before = keys(sources)
    append(sources / "go.mod", "// changed\n")
    assert changed(before, keys(sources)) == {"kubernetes and etcd", "pause, fake GPU plugin"}


def test_a_change_elsewhere_builds_nothing(sources: Path) -> None:
    """A note beside the module is no part of it."""
    before = keys(sources)
    (sources / "NOTES").write_text("x")
    assert keys(sources) == before


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.21rc2 linux/arm64", (1, 21)),
        ("go version go1.19 linux/amd64", (1, 19)),
        ("go version devel +a1b2c3 linux/amd64", (0, 0)),
    ],
)
def test_the_version_of_go_is_read_from_what_it_says(output: str, version: tuple[int, int]) -> None:
    """A release candidate counts as its release, and a development build as too old."""
    assert binaries.go_version(output) == version
