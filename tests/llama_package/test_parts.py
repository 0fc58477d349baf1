"""The supervisor's parts that need no process: settings, files, and what is told of a process that ended."""

import json
import sys
from pathlib import Path
from typing import Final

import pytest

from llama_package import files
from llama_package.server import died
from llama_package.supervisor import Supervisor
from llama_package.surroundings import Surroundings


def test_the_supervisors_own_variables_are_not_the_packages() -> None:
    """All others are handed on, and win over what is set for every package."""
    given = {
        "LLAMA_PACKAGE_DIGEST": "abc",
        "LLAMA_PACKAGE_DEVELOPMENT": "true",
        "GREETING": "hello",
        "PYTHONUNBUFFERED": "",
    }
    read = Surroundings.read(given)
    assert (read.digest, read.development, read.layout, read.python) == ("abc", True, None, sys.executable)
    assert read.environment["GREETING"] == "hello"
    assert read.environment["PYTHONUNBUFFERED"] == ""
    assert read.environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert set(read.environment) & {"LLAMA_PACKAGE_DIGEST", "LLAMA_PACKAGE_DEVELOPMENT"} == set()


def test_a_layout_is_copied_without_bytecode_and_large_files_are_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there before is gone: the folders are the package's, and mounts that are kept."""
    monkeypatch.setattr(files, "LARGE", 100)
    layout, app, packages = tmp_path / "layout", tmp_path / "app", tmp_path / "packages"
    for path, size in (
        ("app/model/model.py", 1),
        ("app/model/__pycache__/x.pyc", 1),
        ("app/data/large", 200),
        ("packages/a.py", 1),
    ):
        (layout / path).parent.mkdir(parents=True, exist_ok=True)
        (layout / path).write_bytes(b"x" * size)
    app.mkdir()
    (app / "old.py").touch()
    files.lay_out(layout, app, packages)
    found = sorted(
        str(path.relative_to(tmp_path)) for folder in (app, packages) for path in folder.rglob("*") if path.is_file()
    )
    assert found == ["app/data/large", "app/model/model.py", "packages/a.py"]
    assert (app / "data/large").is_symlink()


def test_a_program_in_a_layout_may_be_executed_and_changed(tmp_path: Path) -> None:
    """Its mode is kept, though the layout may be written by nobody."""
    program = tmp_path / "layout/app/data/program"
    program.parent.mkdir(parents=True)
    program.touch()
    program.chmod(0o555)
    files.lay_out(tmp_path / "layout", tmp_path / "app", tmp_path / "packages")
    assert (tmp_path / "app/data/program").stat().st_mode & 0o777 == 0o755


def test_a_link_is_turned_without_a_moment_without_it(tmp_path: Path) -> None:
    """It names its target barely, so that it holds wherever the folder is seen."""
    for name in ("one", "two"):
        files.turn(tmp_path / "link", tmp_path / name)
    assert (tmp_path / "link").readlink() == Path("two")


@pytest.mark.parametrize(
    ("code", "loading", "words"),
    [
        (-9, True, "the process was ended by SIGKILL while the package loaded, most likely for want of memory"),
        (-11, False, "the process was ended by SIGSEGV while it served"),
        (3, True, "the process ended with exit code 3 while the package loaded"),
    ],
)
def test_a_process_that_ended_is_told_by_signal_or_code(code: int, *, loading: bool, words: str) -> None:
    """In words that say when."""
    assert died(code, [], loading=loading)["message"] == words


def test_a_crash_below_python_has_the_packages_innermost_line() -> None:
    """Faulthandler writes the most recent call first."""
    crash = [
        "Fatal Python error: Segmentation fault",
        "Thread 0x00007f (most recent call first):",
        '  File "/environment/venv/lib/python3.11/site-packages/torch/cuda.py", line 9 in call',
        '  File "/app/model/model.py", line 12 in predict',
        '  File "/app/model_wrapper.py", line 400 in load',
    ]
    told = died(-11, crash, loading=True)
    assert (told["file"], told["line"]) == ("model/model.py", 12)


def test_no_secret_stands_in_what_is_told(tmp_path: Path) -> None:
    """Message and traceback are searched for each value, the longest first."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/short").write_text("hf_abc\n")
    (tmp_path / "secrets/long").write_text("hf_abcdef")
    variables = {"LLAMA_PACKAGE_SECRETS": str(tmp_path / "secrets"), "LLAMA_PACKAGE_RUN": str(tmp_path)}
    supervisor = Supervisor(Surroundings.read(variables))
    failure = {"kind": "load", "type": "E", "message": "hf_abcdef is no hf_abc", "traceback": "…hf_abc…"}
    assert supervisor.clean(failure, traceback=True)["message"] == "*** is no ***"
    assert supervisor.clean(failure, traceback=True)["traceback"] == "…***…"
    assert "traceback" not in supervisor.clean(failure)


PRIVATE: Final = '{"type": "account",\n  "private": "MIIEabcdefgh\\nü",\n  "x": 1}'


@pytest.mark.parametrize(
    "shown",
    [
        PRIVATE,
        " ".join(PRIVATE.split()),
        repr(PRIVATE),
        json.dumps(PRIVATE),
        json.dumps(PRIVATE, ensure_ascii=False),
        " ".join(repr(PRIVATE).split()),
        PRIVATE.splitlines()[1],
        repr(PRIVATE.splitlines()[1]),
    ],
)
def test_a_secret_of_several_lines_is_found_however_it_is_written(shown: str, tmp_path: Path) -> None:
    """On one line as messages are, as Python and JSON write it, and one line of it alone."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text(PRIVATE)
    variables = {"LLAMA_PACKAGE_SECRETS": str(tmp_path / "secrets"), "LLAMA_PACKAGE_RUN": str(tmp_path)}
    told = Supervisor(Surroundings.read(variables)).clean({"message": f"not {shown}", "kind": "load"})
    assert "MIIE" not in told["message"]
    assert "***" in told["message"]


def test_secrets_are_read_as_a_kubelet_mounts_them(tmp_path: Path) -> None:
    """Each file is a link into a folder that is exchanged as a whole; another one is noticed."""
    mounted = tmp_path / "secrets"
    for name, value in (("..one", "first\n"), ("..two", "second")):
        (mounted / name).mkdir(parents=True)
        (mounted / name / "key").write_text(value)
    (mounted / "..data").symlink_to("..one")
    (mounted / "key").symlink_to("..data/key")
    read = Surroundings.read({"LLAMA_PACKAGE_SECRETS": str(mounted)})
    seen = read.secrets_seen()
    assert read.secret_values() == ["first"]
    (mounted / "..next").symlink_to("..two")
    (mounted / "..next").replace(mounted / "..data")
    assert read.secret_values() == ["second"]
    assert read.secrets_seen() != seen
    (mounted / "..data").unlink()
    assert read.secret_values() == []
