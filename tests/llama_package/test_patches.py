"""Changes of a package: what is one, where it may be written, and that it takes the package's place whole."""

import base64
from pathlib import Path
from typing import Any

import pytest

from llama_package.patches import INADMISSIBLE, UNSUPPORTED, Generation, PatchError, parse, write


def asked(*patches: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A request."""
    return {"hash": "b", "prev_hash": "a", "patches": list(patches), **more}


def code(**body: Any) -> dict[str, Any]:
    """A patch of the model's code."""
    return {"type": "model_code", "body": {"action": "UPDATE", "path": "model.py", "content": "x", **body}}


def test_a_request_of_trusss_own_command_line_is_understood() -> None:
    """hot_reload on every patch asks for hot, on some of them for nothing."""
    assert parse(asked(code(hot_reload=True))).way == "hot"
    assert parse(asked(code(hot_reload=True), code())).way == ""
    assert parse(asked(code(), way="restart")).way == "restart"
    assert parse(asked(code())).is_code
    assert not parse(asked({"type": "config", "body": {"action": "UPDATE"}})).is_code


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({}, INADMISSIBLE),
        ([], INADMISSIBLE),
        (asked(way="sideways"), INADMISSIBLE),
        (asked({"type": "data", "body": {"action": "ADD"}}), UNSUPPORTED),
        (asked({"type": "other", "body": {"action": "ADD"}}), UNSUPPORTED),
        (asked(code(action="TOUCH")), UNSUPPORTED),
    ],
)
def test_what_is_no_change_is_refused(request_: Any, kind: str) -> None:
    """By the kind that truss's client knows."""
    with pytest.raises(PatchError) as refused:
        parse(request_)
    assert refused.value.kind == kind


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", ".", "a/../../b.py"])
def test_no_path_leaves_the_package(path: str, tmp_path: Path) -> None:
    """Neither up nor by a link."""
    root = tmp_path / "model"
    root.mkdir()
    with pytest.raises(ValueError, match="leaves the package's folder"):
        write(root, {"action": "ADD", "path": path, "content": "x"})
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leaves the package's folder"):
        write(root, {"action": "ADD", "path": "link/x.py", "content": "x"})


def test_files_are_written_and_removed(tmp_path: Path) -> None:
    """Text as UTF-8, anything else as base64."""
    write(tmp_path, {"action": "ADD", "path": "a/b.py", "content": "ü"})
    write(
        tmp_path, {"action": "ADD", "path": "c", "content": None, "content_bytes": base64.b64encode(b"\xff").decode()}
    )
    assert (tmp_path / "a/b.py").read_text() == "ü"
    assert (tmp_path / "c").read_bytes() == b"\xff"
    write(tmp_path, {"action": "REMOVE", "path": "c"})
    write(tmp_path, {"action": "REMOVE", "path": "nothing"})
    assert not (tmp_path / "c").exists()
    with pytest.raises(ValueError, match="there is no content"):
        write(tmp_path, {"action": "ADD", "path": "d", "content": None})


def package(folder: Path) -> tuple[Path, Path]:
    """A small one: /app and /packages."""
    for path, text in (
        ("app/model/model.py", "one"),
        ("app/config.yaml", "{}"),
        ("packages/shared/__init__.py", "one"),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / "app", folder / "packages"


def tree(folder: Path) -> dict[str, str]:
    """The content of all files."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_change_is_in_place_when_it_is_exchanged_and_gone_when_it_is_once_more(tmp_path: Path) -> None:
    """Nothing of it is seen before, and nothing is left of it after."""
    app, packages = package(tmp_path)
    before = tree(tmp_path)
    generation = Generation(app, packages, "model")
    shared = {"type": "package", "body": {"action": "UPDATE", "path": "shared/__init__.py", "content": "two"}}
    generation.change(parse(asked(code(), code(path="helper.py"), shared)), {}, "")
    assert before.items() <= tree(tmp_path).items()
    generation.exchange()
    assert (app / "model/model.py").read_text() == (app / "model/helper.py").read_text() == "x"
    assert (packages / "shared/__init__.py").read_text() == "two"
    generation.exchange()
    generation.discard()
    assert tree(tmp_path) == before


def test_variables_change_beside_those_that_are_there(tmp_path: Path) -> None:
    """Where they are given, and nowhere else."""
    app, packages = package(tmp_path)
    environment = {"A": "1", "B": "2"}
    variables = [
        {"type": "environment_variable", "body": {"action": "UPDATE", "item": {"A": "3"}}},
        {"type": "environment_variable", "body": {"action": "REMOVE", "item": {"B": None}}},
    ]
    Generation(app, packages, "model").change(parse(asked(*variables)), environment, "")
    assert environment == {"A": "3"}
