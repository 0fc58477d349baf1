"""A package as one archive: a gzipped tar of its folder, config.yaml at the root, the same bytes for the same files."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import yaml

KEY: Final = "package.tgz"
"""Key of a ConfigMap's binaryData that holds the archive."""
CONFIG: Final = "config.yaml"
MAX_BYTES: Final = 900 * 1024
"""What fits into a ConfigMap beside its metadata."""
MAX_UNPACKED: Final = 64 * 2**20
MAX_CONFIG: Final = 128 * 1024
"""Bytes of a config.yaml; truss's own with all fields set has a tenth of it."""
MAX_DEPTH: Final = 100

# libyaml where PyYAML has it: the operator reads this between everything else that it does.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MALFORMED: Final = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What PyYAML raises of a file: of `!!bool x` a KeyError, of `!!timestamp x` an AttributeError."""

_LEFT_OUT: Final = (".git", "__pycache__", "*.pyc", ".DS_Store", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache")


class PackageError(ValueError):
    """The archive, or its config.yaml, cannot be used; the message says why."""


def digest(archive: bytes) -> str:
    """Return the digest of an archive, in hexadecimal."""
    return hashlib.sha256(archive).hexdigest()


def pack(folder: Path) -> bytes:
    """Return the archive of a package's folder, without what its .truss_ignore names and without values of secrets.

    Raises:
        PackageError: there is no config.yaml, or something is no plain file.
    """
    if not (folder / CONFIG).is_file():
        raise PackageError(f"{folder} has no {CONFIG}: name the folder of a package, or make one with truss init")
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, name in _files(folder):
            content = path.read_bytes()
            if name == CONFIG:
                content = without_secrets(content)
            row = tarfile.TarInfo(name)
            row.size, row.mode = len(content), 0o755 if path.stat().st_mode & 0o100 else 0o644
            tar.addfile(row, io.BytesIO(content))
    return packed.getvalue()


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    ignored = (*_LEFT_OUT, *_patterns(folder / ".truss_ignore"))
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if _is_ignored(name, ignored) or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink() or not path.is_file():
            raise PackageError(f"{name} is no plain file: a package holds files and folders alone")
        yield path, name


def _patterns(file: Path) -> tuple[str, ...]:
    lines = file.read_text().splitlines() if file.is_file() else ()
    return tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))


def _is_ignored(name: str, patterns: tuple[str, ...]) -> bool:
    parents = [str(parent) for parent in PurePosixPath(name).parents if str(parent) != "."]
    for pattern in patterns:
        bare = pattern.strip("/")
        for path in (name, *parents):
            if fnmatch(path, bare) or ("/" not in bare and fnmatch(PurePosixPath(path).name, bare)):
                return True
    return False


def without_secrets(config: bytes) -> bytes:
    """Return a config.yaml whose secrets have names alone; as it is where they have no values.

    Raises:
        PackageError: it is no YAML object.
    """
    found = read_config(config)
    named = found.get("secrets")
    if not isinstance(named, dict) or all(value is None for value in named.values()):
        return config
    return yaml.safe_dump({**found, "secrets": dict.fromkeys(named)}, sort_keys=False, allow_unicode=True).encode()


def read_config(text: str | bytes) -> dict[str, Any]:
    """Return what a config.yaml says.

    Raises:
        PackageError: it is no YAML object, too large, or has aliases, few of which say more than memory holds. The
            words hold no line of the file, which may have a secret in it.
    """
    if len(text.encode(errors="replace") if isinstance(text, str) else text) > MAX_CONFIG:
        raise PackageError(f"{CONFIG} is larger than {MAX_CONFIG // 1024} KiB: put what it holds into files beside it")
    try:
        _refuse_aliases(text)
        found = yaml.load(text, Loader=_LOADER)  # noqa: S506  (a SafeLoader)
    except PackageError:
        raise
    except _MALFORMED as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise PackageError(f"{CONFIG} is no YAML{where}: correct it there") from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise PackageError(f"{CONFIG} is no YAML object: write fields such as model_name: NAME")
    _refuse_unspeakable(found, "")
    return found


def _refuse_unspeakable(value: object, field: str) -> None:
    """Refuse values that YAML has and nothing else of a deployment can say: numbers and text of no encoding."""
    if isinstance(value, dict):
        for key, below in value.items():
            _refuse_unspeakable(key, field)
            _refuse_unspeakable(below, field or str(key))
    elif isinstance(value, list | tuple | set):
        for below in value:
            _refuse_unspeakable(below, field)
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise PackageError(f"{CONFIG}: {field} has a number of more than 64 bits: write it in quotes")
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PackageError(f"{CONFIG}: {field} has half of a surrogate pair: write the character itself") from None


def _refuse_aliases(text: str | bytes) -> None:
    """Look at a YAML file's events before anything is made of it.

    Raises:
        PackageError: there is an alias, or it is nested too deeply.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark: Any = event.start_mark
        where = f"{CONFIG} at line {mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise PackageError(f"{where} has an alias (*name): write out what it stands for")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise PackageError(f"{where} is nested more than {MAX_DEPTH} deep: write it flatter")


def unpack_config(archive: bytes) -> dict[str, Any]:
    """Return what the config.yaml in an archive says.

    Raises:
        PackageError: the archive cannot be used, or has none.
    """
    return read_config(files(archive, only=CONFIG)[CONFIG])


class File(NamedTuple):
    """A file of an archive, and whether it may be executed."""

    content: bytes
    executable: bool = False


def files(archive: bytes, *, only: str | None = None) -> dict[str, bytes]:
    """Return the content of an archive's files by their paths; of all of them, or of one.

    Raises:
        PackageError: it is no gzipped tar of plain files that stay within it, it is too large, or it lacks config.yaml.
    """
    return {name: file.content for name, file in entries(archive, only=only).items()}


def entries(archive: bytes, *, only: str | None = None) -> dict[str, File]:
    """Return the files of an archive by their paths, as `files` does; raises the same."""
    found: dict[str, File] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_unzipped(archive)), mode="r:") as tar:
            for row in tar:
                name = _name(row)
                if name and only in (None, name):
                    file = tar.extractfile(row)
                    found[name] = File(file.read() if file else b"", bool(row.mode & 0o100))
    except PackageError:
        raise
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, ArithmeticError) as error:
        raise PackageError(f"{KEY} is no gzipped tar ({error}): make it with tar -C FOLDER -czf {KEY} .") from None
    if (only or CONFIG) not in found:
        raise PackageError(f"{KEY} has no {only or CONFIG} at its root: make it with tar -C FOLDER -czf {KEY} .")
    return found


def _unzipped(archive: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(archive)) as zipped:
        content = zipped.read(MAX_UNPACKED + 1)
    if len(content) > MAX_UNPACKED:
        raise PackageError(f"{KEY} is larger than {MAX_UNPACKED // 2**20} MiB unpacked: put large files on a volume")
    return content


def _name(row: tarfile.TarInfo) -> str | None:
    """Return the path of a file within the package; None for a folder."""
    path = PurePosixPath(row.name)
    if path.is_absolute() or ".." in path.parts:
        raise PackageError(f"{KEY} holds {row.name}, which is outside the package: leave it out")
    if row.isdir():
        return None
    if not row.isreg() or row.issparse():  # a sparse file is as large as it says
        raise PackageError(f"{KEY} holds {row.name}, which is no plain file: put the file itself in its place")
    return str(path)
