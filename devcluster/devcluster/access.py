"""Let pip inside a build reach packages the way the machine does, by what is mounted for the build only.

The machine's own settings, of pip or of uv, become one pip.conf. It is mounted, like the certificates it names, while
packages are installed; the stage that makes the image copies the installed files alone.
"""

import configparser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PIP_CONF: Final = "/etc/pip.conf"
NETRC: Final = "/root/.netrc"
# Where packages come from and how they are reached; the rest (caches, targets) is the machine's own affair.
OPTIONS: Final = (
    "index-url",
    "extra-index-url",
    "no-index",
    "find-links",
    "trusted-host",
    "proxy",
    "cert",
    "client-cert",
    "timeout",
    "default-timeout",
    "retries",
)
PATHS: Final = ("cert", "client-cert", "find-links")
# What uv, and the libraries that both stand on, are told the same by; pip's own word comes first.
ALIKE: Final[Mapping[str, tuple[str, ...]]] = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"),
}


@dataclass(frozen=True, slots=True)
class Access:
    """The text of pip.conf, and the files and folders that must lie at the same path in the build."""

    pip_conf: str
    paths: tuple[Path, ...]


def files(environ: Mapping[str, str]) -> list[Path]:
    """The files in which pip looks for settings, the strongest last."""
    home = Path(environ.get("HOME") or "/root")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    found = [Path("/etc/xdg/pip/pip.conf"), Path(PIP_CONF), home / ".pip/pip.conf", config / "pip/pip.conf"]
    if named := environ.get("PIP_CONFIG_FILE"):
        found.append(Path(named))
    return found


def settings(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Merge configuration files, the strongest last, and variables, stronger than all, as pip does."""
    merged: dict[str, str] = {}
    for text in texts:
        parser = configparser.RawConfigParser()
        parser.read_string(text)
        for section in ("global", "install"):
            if parser.has_section(section):
                merged |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for option in OPTIONS:
        named = environ.get("PIP_" + option.upper().replace("-", "_"))
        alike = (environ.get(name) for name in ALIKE.get(option, ()))
        if named:
            merged[option] = named
        elif option not in merged and (other := next(filter(None, alike), None)):
            merged[option] = _without_index_names(other)
    return {option: merged[option] for option in OPTIONS if merged.get(option)}


def _without_index_names(value: str) -> str:
    """Uv may give an index a name, name=url, which pip does not know."""
    words = (word.partition("=") for word in value.split())
    return " ".join(url if mark and "/" not in name else name + mark + url for name, mark, url in words)


def access(options: Mapping[str, str]) -> Access:
    """Write options as a pip.conf, without the local files and folders that are not there."""
    lines = ["[global]"]
    paths: list[Path] = []
    for option, value in options.items():
        words = value.split()
        if option in PATHS:
            words = [word for word in words if not word.startswith("/") or _holds_something(Path(word))]
            paths += [Path(word) for word in words if word.startswith("/")]
        if words:
            lines.append(f"{option} = {' '.join(words)}")
    return Access("\n".join(lines) + "\n", tuple(paths))


def _holds_something(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def of_machine(environ: Mapping[str, str]) -> Access:
    """Read the machine's settings."""
    return access(settings((file.read_text() for file in files(environ) if file.is_file()), environ))
