"""A package's archive: the same bytes for the same content, nothing but plain files, no value of a secret."""

import contextlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from llama_packages import archive


def package(folder: Path, config: str = "model_name: chat\n") -> Path:
    """Make a package in a folder."""
    (folder / "model" / "__pycache__").mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "model" / "model.py").write_text("class Model: ...\n")
    (folder / "model" / "__pycache__" / "model.pyc").write_bytes(b"x")
    return folder


def tar(*rows: tarfile.TarInfo) -> bytes:
    """Make an archive of these entries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        for row in rows:
            made.addfile(row, io.BytesIO(b"x" * row.size))
    return packed.getvalue()


def named(name: str, *, size: int = 1, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """Make an entry of an archive."""
    row = tarfile.TarInfo(name)
    row.size, row.type, row.linkname = size if kind == tarfile.REGTYPE else 0, kind, "/etc/passwd"
    return row


def test_the_same_content_has_the_same_digest(tmp_path: Path) -> None:
    """Neither time nor place of the files counts."""
    one, two = package(tmp_path / "one"), package(tmp_path / "two")
    os.utime(two / "config.yaml", (1, 1))
    assert archive.digest(archive.pack(one)) == archive.digest(archive.pack(two))
    assert archive.pack(one)[4:8] == bytes(4), "gzip writes no time"


def test_what_nobody_runs_is_left_out(tmp_path: Path) -> None:
    """Compiled files, and what .truss_ignore names."""
    folder = package(tmp_path)
    (folder / "notes").mkdir()
    (folder / "notes" / "todo.txt").write_text("x")
    (folder / ".truss_ignore").write_text("# mine\nnotes/\n")
    assert sorted(archive.files(archive.pack(folder))) == [".truss_ignore", "config.yaml", "model/model.py"]


def test_values_of_secrets_are_left_out(tmp_path: Path) -> None:
    """Names stay; all else of config.yaml does too."""
    packed = archive.pack(package(tmp_path, "model_name: chat\nsecrets: {hf_access_token: hf_real}\n"))
    config = archive.unpack_config(packed)
    assert config == {"model_name": "chat", "secrets": {"hf_access_token": None}}
    assert not any(b"hf_real" in content for content in archive.files(packed).values())


def test_a_link_is_no_part_of_a_package(tmp_path: Path) -> None:
    """It would be another file wherever it is unpacked."""
    folder = package(tmp_path)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(archive.PackageError, match="link is no plain file"):
        archive.pack(folder)


@pytest.mark.parametrize("name", ["/etc/passwd", "../out", "model/../../out"])
def test_a_path_outside_is_refused(name: str) -> None:
    """An archive from elsewhere may hold anything."""
    with pytest.raises(archive.PackageError, match="outside the package"):
        archive.files(tar(named("config.yaml"), named(name)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_what_is_no_plain_file_is_refused(kind: bytes) -> None:
    """Links and devices."""
    with pytest.raises(archive.PackageError, match="no plain file"):
        archive.files(tar(named("config.yaml"), named("x", kind=kind)))


def test_a_bomb_is_refused() -> None:
    """What is small packed may be large unpacked."""
    with pytest.raises(archive.PackageError, match="64 MiB"):
        archive.files(tar(named("config.yaml"), named("zeros", size=archive.MAX_UNPACKED)))


@pytest.mark.parametrize("content", [b"", b"no archive", tar(named("other.yaml"))])
def test_what_is_no_package_is_told(content: bytes) -> None:
    """With the command that makes one."""
    with pytest.raises(archive.PackageError, match="tar -C FOLDER -czf"):
        archive.unpack_config(content)


def test_a_broken_config_is_told_by_its_line_alone() -> None:
    """The line itself may hold a secret."""
    with pytest.raises(archive.PackageError, match="line 2") as told:
        archive.read_config("secrets:\n  token: hf_real: [\n")
    assert "hf_real" not in str(told.value)


def test_a_config_of_dots_is_found() -> None:
    """That is what `tar -C FOLDER .` writes."""
    assert archive.files(tar(named("./config.yaml")))["config.yaml"] == b"x"


def test_an_alias_is_refused_before_anything_is_made_of_it() -> None:
    """Thirty lines of them stand for a thousand million values."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))]
    with pytest.raises(archive.PackageError, match=r"line 3 has an alias"):
        archive.read_config("model_metadata:\n" + "\n".join(f"  {line}" for line in lines[:1]) + "\n  b: *a0\n")
    with pytest.raises(archive.PackageError, match="alias"):
        archive.read_config("\n".join(lines))


def test_a_config_is_read_up_to_a_size_and_a_depth() -> None:
    """The operator reads it between everything else that it does."""
    with pytest.raises(archive.PackageError, match="128 KiB"):
        archive.read_config("model_name: " + "x" * archive.MAX_CONFIG)
    with pytest.raises(archive.PackageError, match="100 deep"):
        archive.read_config("model_metadata: " + "[" * 10_000)


@pytest.mark.parametrize(
    "text",
    [
        "model_name: 2023-02-30",
        "x: !!int x",
        "x: !!int ''",
        "x: !!bool x",
        "x: !!float x",
        "x: !!timestamp x",
        "x: !!binary x",
        "x: !!python/name:os.system",
        f"environment_variables: {{A: 0x{'f' * 9000}}}",
        "? [a]\n: b",
        "x: \x07",
    ],
)
def test_a_value_that_yaml_cannot_make_is_told_as_any_fault(text: str) -> None:
    """Whatever PyYAML raises of it."""
    with pytest.raises(archive.PackageError, match=r"config\.yaml"):
        archive.read_config(text)


def test_a_damaged_archive_is_told_wherever_the_damage_is() -> None:
    """In gzip's head, in what is compressed, in its sum, at its end."""
    packed = tar(named("config.yaml", size=5000))
    for place in range(len(packed)):
        damaged = packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :]
        with contextlib.suppress(archive.PackageError):
            archive.files(damaged)
        with contextlib.suppress(archive.PackageError):
            archive.files(packed[:place])


def test_a_sparse_file_is_refused() -> None:
    """It says itself how large it is, and may say anything."""
    row = named("hole", size=0)
    row.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.size": str(2**50), "GNU.sparse.map": f"{2**50},0"}
    with pytest.raises(archive.PackageError, match="no plain file"):
        archive.files(tar(named("config.yaml"), row))


def test_what_may_be_executed_stays_so(tmp_path: Path) -> None:
    """A package may bring a program."""
    folder = package(tmp_path)
    (folder / "model" / "model.py").chmod(0o755)
    found = archive.entries(archive.pack(folder))
    assert [name for name, file in found.items() if file.executable] == ["model/model.py"]
