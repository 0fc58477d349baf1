"""What of a config.yaml holds: fields that are ignored, and fields that are refused, each by name and with the fix."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, cast

from llama_packages import accelerator
from llama_packages.fields import FIELDS

PYTHONS: Final = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
DEFAULT_PYTHON: Final = "3.13"
_FROM_GIT: Final = re.compile(r"(^|[\s@])git\+", re.IGNORECASE)
_NO_GIT: Final = (
    "which has no hash to install it by, and images have no git: name a release, or put the package into an image and "
    "name that in spec.package.image"
)
_RESERVED: Final = frozenset(
    {"PORT", "HOSTNAME", "HOME", "PATH", "APP_HOME", "PYTHON_EXECUTABLE", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
)
_DEFAULTS: Final[Mapping[str, Any]] = {
    "build.model_server": "TrussServer",
    "build.no_cache": False,
    "external_data.backend": "http_public",
    "examples_filename": "examples.yaml",
    "input_type": "Any",
    "live_reload": False,
    "model_framework": "custom",
    "model_type": "Model",
    "spec_version": "2.0",
    "use_local_src": False,
    "runtime.enable_tracing_data": False,
    "runtime.is_websocket_endpoint": False,
    "resources.use_gpu": False,
}
"""What truss itself writes for fields that nobody set: not worth a word."""

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One field that is not served as written: its dotted path, why, and what to do."""

    field: str
    words: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What is left aside, with a warning, and what stands in the way."""

    ignored: tuple[Finding, ...] = ()
    refused: tuple[Finding, ...] = ()


def check(config: Config) -> Findings:
    """Return what of a config.yaml is ignored and what is refused."""
    ignored: list[Finding] = []
    refused: list[Finding] = []
    for path in _set(config, ""):
        row = FIELDS.get(path)
        if row is None:
            refused.append(Finding(path, _unknown(path)))
        elif row.support == "refused":
            refused.append(Finding(path, row.words))
        elif row.support == "ignored":
            ignored.append(Finding(path, row.words))
    refused += [Finding(field, words) for field, words in _values(config)]
    return Findings(tuple(dict.fromkeys(ignored)), tuple(dict.fromkeys(refused)))


def python_of(config: Config) -> str:
    """Return the Python that a config.yaml asks for, such as 3.11; what it says where that is none."""
    written = config.get("python_version")
    if written is None:
        return DEFAULT_PYTHON
    text = str(written).removeprefix("py")
    return f"{text[0]}.{text[1:]}" if text.isdecimal() and len(text) > 1 else text


def secrets_of(config: Config) -> tuple[str, ...]:
    """Return the names of the secrets that a config.yaml declares."""
    named = config.get("secrets")
    return tuple(str(name) for name in cast("Config", named)) if isinstance(named, Mapping) else ()


def environment_of(config: Config) -> dict[str, str]:
    """Return the environment that a config.yaml sets, as text."""
    named = config.get("environment_variables")
    rows = cast("Config", named) if isinstance(named, Mapping) else {}
    return {str(name): "" if value is None else _text(value) for name, value in rows.items()}


def part(config: Config, name: str) -> Config:
    """Return an object of a config.yaml; empty where it is unset or of another kind."""
    found = config.get(name)
    return cast("Config", found) if isinstance(found, Mapping) else {}


def rows(config: Config, name: str) -> list[Any]:
    """Return a list of a config.yaml; empty where it is unset or of another kind."""
    found = config.get(name)
    return cast("list[Any]", found) if isinstance(found, list) else []


def from_git(requirement: str) -> str | None:
    """Return why a requirement from git cannot be installed; None of any other, and of a comment."""
    said = requirement.partition(" #")[0].strip()
    if said.startswith("#") or not _FROM_GIT.search(said):
        return None
    return f"has {re.sub(r'//[^/@]*@', '//', said)}, {_NO_GIT}"  # without credentials


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _set(node: Config, prefix: str) -> Iterator[str]:
    """Yield each field that says something, down to those whose row covers all below."""
    for name, value in node.items():
        path = f"{prefix}{name}"
        if value in (None, "", [], {}) or _DEFAULTS.get(path) == value or _says_nothing(value):
            continue
        row = FIELDS.get(path)
        yield path
        if row is None or row.whole or row.support != "supported":
            continue
        below = any(other.startswith(f"{path}.") for other in FIELDS)
        for item in (value if isinstance(value, list) else [value]) if below else ():
            if isinstance(item, Mapping):
                yield from _set(cast("Config", item), f"{path}.")


def _says_nothing(value: object) -> bool:
    """Whether an object holds nothing but empty values, as truss writes those that nobody set."""
    if isinstance(value, Mapping):
        return all(row in (None, "", False) or _says_nothing(row) for row in cast("Config", value).values())
    return isinstance(value, list) and not value


def _unknown(path: str) -> str:
    last, prefix = path.rpartition(".")[2], path.rpartition(".")[0]
    names = {row.rpartition(".")[2]: row for row in FIELDS if row.rpartition(".")[0] == prefix}
    near = get_close_matches(last, names, n=1)
    elsewhere = [row for row in FIELDS if row.rpartition(".")[2] == last]
    if near:
        return f"is no field of config.yaml: did you mean {names[near[0]]}?"
    return f"is no field of config.yaml: {f'write it as {elsewhere[0]}' if elsewhere else 'remove it'}"


def _values(config: Config) -> Iterator[tuple[str, str]]:
    """Yield values that cannot be served of fields that can."""
    if python_of(config) not in PYTHONS:
        yield "python_version", f"is {config['python_version']!r}: write one of {', '.join(map(_short, PYTHONS))}"
    try:
        accelerator.parse(part(config, "resources").get("accelerator"))
    except ValueError as error:
        yield "resources.accelerator", str(error)
    runtime = part(config, "runtime")
    if part(runtime, "transport").get("kind", "http") not in ("http", "websocket"):
        yield "runtime.transport.kind", "is grpc, which the server in front does not speak: use http or websocket"
    if runtime.get("num_workers") not in (None, 1):
        yield "runtime.num_workers", "is not 1: a package runs in one process; raise spec.replicas instead"
    concurrency = runtime.get("predict_concurrency", 1)
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        yield "runtime.predict_concurrency", f"is {concurrency!r}: write a number of requests, 1 or more"
    if part(config, "build").get("model_server", "TrussServer") != "TrussServer":
        yield "build.model_server", "is not TrussServer: only packages with a model.py run here"
    for name in environment_of(config):
        if name in _RESERVED or name.startswith("LLAMA_"):
            yield f"environment_variables.{name}", "is set by the operator: use another name"
    yield from _kinds(config)


def _kinds(config: Config) -> Iterator[tuple[str, str]]:
    """Yield fields of another kind than they have."""
    for name in ("base_image", "resources", "runtime", "build", "secrets", "environment_variables", "model_metadata"):
        if config.get(name) is not None and not isinstance(config[name], Mapping):
            yield name, "is no object: write its fields below it"
    for name in ("image", "python_executable_path"):
        if not isinstance(part(config, "base_image").get(name), str | None):
            yield f"base_image.{name}", f"is {part(config, 'base_image')[name]!r}, which is no text: write it in quotes"
    if str(config.get("requirements_file") or "").endswith("uv.lock"):
        yield "requirements_file", "is uv.lock: name the pyproject.toml beside it, or a requirements.txt"
    for row in rows(config, "requirements"):
        if words := from_git(str(row)):
            yield "requirements", words
    for name in ("requirements", "external_data"):
        if config.get(name) is not None and not isinstance(config[name], list):
            yield name, "is no list: write each on a line of its own, after a hyphen"


def _short(python: str) -> str:
    return f"py{python.replace('.', '')}"
