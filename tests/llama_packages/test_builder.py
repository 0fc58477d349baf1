"""The environment Job's two halves with the genuine truss and uv; wheels come from folders, never from an index."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from llama_packages import archive
from llama_packages.builder import environment
from llama_packages.fields import FIELDS
from tests.llama_packages.conftest import Builder
from tests.support.packages import MODEL, packed

pytestmark = pytest.mark.slow

DIGEST: Final = "0" * 64


def a_wheel(folder: Path, name: str, version: str, *, needs: str = "") -> None:
    """Write a wheel with one module into a folder."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for path, text in files.items()
    ]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,", ""])}.items():
            wheel.writestr(path, text)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A wheelhouse: two versions of one package, and one that needs the older."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        a_wheel(folder, "colours", version)
    a_wheel(folder, "painting", "1.0", needs="colours<2")
    return folder


@pytest.fixture
def laid_out(builder: Builder, tmp_path: Path) -> Callable[..., Path]:
    """The work folder of a package, its requirements replaced by some that the wheelhouse has."""

    def lay_out(config: Mapping[str, Any], requirements: str | None = None, **files: str) -> Path:
        package, work = tmp_path / "package.tgz", tmp_path / "work"
        package.write_bytes(packed({"python_version": "py311", **config}, **files))
        builder.lay_out(package, work)
        if requirements is not None:
            (work / "context" / "requirements.txt").write_text(requirements)
            (work / "context" / "constraints.txt").write_text("")
        return work

    return lay_out


def options(work: Path, volume: Path, *more: str) -> list[str]:
    """The command line of the second half."""
    volume.mkdir(exist_ok=True)
    return [str(work), str(volume), DIGEST, *more]


def make(work: Path, volume: Path, *more: str) -> None:
    """Do what the second half does; raises environment.Failure."""
    environment.Maker(environment.parse(options(work, volume, *more)), environment.Report()).make()


def test_every_field_of_the_pinned_truss_has_a_row(builder: Builder) -> None:
    """And no row is of a field that it does not have."""
    script = "import truss, pathlib; print((pathlib.Path(truss.__file__).parent / 'config.schema.json').read_text())"
    schema = json.loads(subprocess.run([builder.python, "-c", script], check=True, capture_output=True).stdout)
    found = set(_paths(schema, schema["$defs"], ""))
    assert found - set(FIELDS) == set()
    assert {row.path for row in FIELDS.values() if not row.computed} - found == set()


def _paths(node: Mapping[str, Any], defs: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, below in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path
        row = FIELDS.get(path)
        if row is not None and not row.whole and row.support != "refused":
            yield from _paths(below, defs, f"{path}.")
    parts = [*node.get("anyOf", ()), *node.get("oneOf", ()), *([node["items"]] if "items" in node else [])]
    for part in parts:
        yield from _paths(part, defs, prefix)
    if "$ref" in node:
        yield from _paths(defs[node["$ref"].rpartition("/")[2]], defs, prefix)


def test_a_package_lies_as_in_truss_own_image(laid_out: Callable[..., Path]) -> None:
    """Server, model and full config are where the server looks for them, and truss's requirements beside the user's."""
    work = laid_out(
        {"requirements": ["numpy==1.26.4"], "secrets": {"token": "hf_real"}},
        **{"model/model.py": MODEL, "packages/shared/__init__.py": "", "data/words.txt": "a"},
    )
    app = work / "layout" / "app"
    for name in ("main.py", "truss_server.py", "model/model.py", "data/words.txt", "config.yaml"):
        assert (app / name).is_file(), name
    assert (work / "layout" / "packages" / "shared" / "__init__.py").is_file()
    requirements = (work / "context" / "requirements.txt").read_text()
    assert "numpy==1.26.4" in requirements
    assert "numpy>=" not in requirements, "the user's win"
    assert "fastapi" in requirements
    assert "hf_real" not in (app / "config.yaml").read_text()
    assert json.loads((work / "plan.json").read_text())["requirements"] == ["requirements.txt"]


def test_a_program_in_a_package_may_be_executed(builder: Builder, tmp_path: Path) -> None:
    """From the archive to the layout."""
    for name, content in {"config.yaml": "python_version: py311\n", "model/model.py": MODEL, "data/run": ""}.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(content)
    (tmp_path / "mine/data/run").chmod(0o755)
    (tmp_path / "package.tgz").write_bytes(archive.pack(tmp_path / "mine"))
    builder.lay_out(tmp_path / "package.tgz", tmp_path / "work")
    app = tmp_path / "work/layout/app"
    assert (app / "data/run").stat().st_mode & 0o777 == 0o755
    assert (app / "model/model.py").stat().st_mode & 0o111 == 0


@pytest.mark.parametrize(
    ("config", "files", "words"),
    [
        ({"runtime": {"predict_concurrency": 0}}, {}, "predict_concurrency"),
        ({"model_class_filename": "none.py"}, {}, "model/none.py"),
        ({"requirements_file": "missing.txt"}, {}, "missing.txt"),
        (
            {"requirements_file": "own.txt"},
            {"model/model.py": MODEL, "own.txt": "# git+x\na @ git+https://host/a\n"},
            r"own\.txt has a @ git\+https://host/a,.*spec\.package\.image",
        ),
        ({"resources": {"cpu": "many"}}, {}, "truss does not take the package"),
    ],
)
def test_a_package_that_truss_does_not_take_is_told(
    laid_out: Callable[..., Path], tmp_path: Path, config: dict[str, Any], files: dict[str, str], words: str
) -> None:
    """By the second half, which the operator asks."""
    work = laid_out(config, **files)
    with pytest.raises(environment.Failure, match=words) as told:
        make(work, tmp_path / "volume")
    assert told.value.reason == "PackageInvalid"


def test_an_environment_is_locked_installed_and_marked(
    laid_out: Callable[..., Path], tmp_path: Path, wheels: Path
) -> None:
    """With versions that fit each other, and the hash of each file."""
    volume = tmp_path / "volume"
    make(laid_out({}, "painting\n"), volume, "--find-links", str(wheels))
    lock = (volume / "requirements.lock").read_text()
    assert "colours==1.0" in lock
    assert "--hash=sha256:" in lock
    said = subprocess.run(
        [volume / "venv" / "bin" / "python", "-c", "import colours; print(colours.VERSION)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.strip() == "1.0"
    assert (volume / "ready").is_file()
    assert (volume / "packages" / DIGEST / "ready").is_file()
    assert not (volume / ".cache").exists()


def test_a_second_package_finds_everything_there(laid_out: Callable[..., Path], tmp_path: Path, wheels: Path) -> None:
    """Nothing is asked of any index: there is none any more."""
    volume = tmp_path / "volume"
    work = laid_out({}, "colours\n")
    make(work, volume, "--find-links", str(wheels))
    before = (volume / "ready").stat().st_mtime_ns
    (work / "bin" / "uv").unlink()
    environment.Maker(environment.parse([str(work), str(volume), "1" * 64]), environment.Report()).make()
    assert (volume / "ready").stat().st_mtime_ns == before
    assert (volume / "packages" / ("1" * 64) / "ready").is_file()


def test_what_was_broken_off_is_made_anew(laid_out: Callable[..., Path], tmp_path: Path, wheels: Path) -> None:
    """Only the mark counts, which is written last."""
    volume = tmp_path / "volume"
    (volume / "venv" / "bin").mkdir(parents=True)
    (volume / "venv" / "bin" / "python").write_text("broken")
    make(laid_out({}, "colours\n"), volume, "--find-links", str(wheels))
    assert (volume / "venv" / "bin" / "python").is_symlink()


@pytest.mark.parametrize(
    ("requirements", "words"),
    [("painting\ncolours==2.0\n", "spec.package.python"), ("nowhere\n", "nowhere"), ("colours==\n", "requirements")],
)
def test_requirements_that_cannot_be_met_are_told_in_the_resolvers_words(
    laid_out: Callable[..., Path], tmp_path: Path, wheels: Path, requirements: str, words: str
) -> None:
    """And what to correct."""
    with pytest.raises(environment.Failure, match=words) as told:
        make(laid_out({}, requirements), tmp_path / "volume", "--find-links", str(wheels))
    assert told.value.reason == "RequirementsUnsolvable"


def test_an_index_that_does_not_answer_is_told(laid_out: Callable[..., Path], tmp_path: Path) -> None:
    """With its address and the fields to mend."""
    index = "http://127.0.0.1:9/simple"
    with pytest.raises(environment.Failure, match=r"spec\.package\.indexUrl") as told:
        make(laid_out({}, "colours\n"), tmp_path / "volume", "--index-url", index)
    assert told.value.reason == "IndexUnreachable"
    assert index in str(told.value)


def test_how_far_it_is_and_what_stands_in_the_way_is_answered(
    laid_out: Callable[..., Path], tmp_path: Path, wheels: Path
) -> None:
    """At /startupz, as the server's; it is tried again until somebody has mended it."""
    work, volume = laid_out({}, "colours\n"), tmp_path / "volume"
    report = environment.Report()
    maker = environment.Maker(environment.parse(options(work, volume, "--find-links", str(tmp_path / "empty"))), report)
    (tmp_path / "empty").mkdir()
    seen: list[dict[str, Any]] = []
    with _served(report) as port:

        def mended(_seconds: float) -> None:
            with pytest.raises(urllib.error.HTTPError) as answer:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/startupz", timeout=5)
            seen.append(json.loads(answer.value.read()))
            for wheel in wheels.iterdir():
                os.link(wheel, tmp_path / "empty" / wheel.name)

        environment.make(maker, report, mended)
    (told,) = seen
    assert told["stages"][0]["name"] == "Environment"
    assert told["stages"][0]["state"] == "failed"
    assert told["error"]["reason"] == "RequirementsUnsolvable"
    assert (volume / "ready").is_file()


@contextmanager
def _served(report: environment.Report) -> Generator[int]:
    server = environment.serve(report, 0)
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_external_data_stays_within_the_data_folder(tmp_path: Path) -> None:
    """A path that leads out of it is refused."""
    with pytest.raises(environment.Failure, match="local_data_path"):
        environment.fetch("http://127.0.0.1:9/x", tmp_path / "data" / ".." / "x", tmp_path / "data")


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hidden@127.0.0.1:9/weights.bin?signature=hidden",
        "http://hidden@127.0.0.1:9/weights.bin#hidden",
        "http://user:hid den@127.0.0.1/weights.bin",
    ],
)
def test_credentials_of_external_data_are_not_told(tmp_path: Path, url: str) -> None:
    """Of its address scheme, host and path are."""
    with pytest.raises(environment.Failure, match=r"http://127\.0\.0\.1/weights\.bin \(.*correct its url") as told:
        environment.fetch(url, tmp_path / "x", tmp_path)
    assert "hid" not in str(told.value)


def test_the_second_half_needs_nothing_but_an_old_python() -> None:
    """It runs on whatever Python a package names: its grammar is that of 3.9, and it imports nothing foreign."""
    import ast  # noqa: PLC0415

    tree = ast.parse(Path(environment.__file__).read_text(), feature_version=(3, 9))
    names = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    assert names <= set(sys.stdlib_module_names)
