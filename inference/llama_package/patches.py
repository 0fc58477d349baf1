"""Changes of a package while it runs: truss's patches read, and made on a copy that takes the package's place whole.

A patch is `{"type": …, "body": {"action": ADD | UPDATE | REMOVE, …}}`, as truss's command line sends it.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_package import files
from llama_package.files import KEEP

INADMISSIBLE, RECOVERABLE, UNSUPPORTED = "inadmissible_patch", "patch_failed_recoverable", "unsupported_patch"
PUSH = {
    "python_requirement": "requirements are installed before a pod starts",
    "system_package": "system packages are part of an image",
    "external_data": "external_data is fetched before a pod starts",
    "data": "data/ is laid out before a pod starts",
}
_MERGE = """
import json, sys, yaml
path, changes = sys.argv[1], json.load(sys.stdin)
def merged(old, new):
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return new
config = merged(yaml.safe_load(open(path)), changes)
# What stands there is never used: secrets are mounted.
config["secrets"] = {name: None for name in config.get("secrets") or {}}
yaml.safe_dump(config, open(path, "w"))
"""


class PatchError(Exception):
    """A change that is not made; what ran before runs on."""

    def __init__(self, kind: str, message: str, failure: dict[str, Any] | None = None) -> None:
        """`failure` is what the changed package raised."""
        super().__init__(message)
        self.kind = kind
        self.failure = failure


@dataclass(frozen=True)
class Change:
    """A request to change the package.

    Attributes:
        hash: what names the package after it.
        previous: what must run now.
        patches: type and body of each.
        way: beside, restart, hot, or empty: as the place has it.
    """

    hash: str
    previous: str
    patches: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    way: str = ""

    @property
    def is_code(self) -> bool:
        """Whether nothing but code changes, which a running process can take up."""
        return all(kind in ("model_code", "package") for kind, _ in self.patches)


def parse(asked: Any) -> Change:  # noqa: ANN401 - whatever a request's body holds
    """Read a request.

    Raises:
        PatchError: saying what is wrong with it.
    """
    try:
        patches = [(str(patch["type"]), dict(patch["body"])) for patch in asked["patches"]]
        change = Change(str(asked["hash"]), str(asked["prev_hash"]), patches, str(asked.get("way") or ""))
    except (KeyError, TypeError, ValueError) as error:
        message = f"a change has hash, prev_hash and patches, each with type and body: {type(error).__name__}: {error}"
        raise PatchError(INADMISSIBLE, message) from error
    if change.way not in ("", "auto", "beside", "restart", "hot"):
        raise PatchError(INADMISSIBLE, f"way is beside, restart, hot or auto; it is {change.way!r}")
    for kind, body in change.patches:
        if kind in PUSH:
            raise PatchError(UNSUPPORTED, f"{PUSH[kind]}: push the package again")
        if kind not in ("model_code", "package", "config", "environment_variable"):
            raise PatchError(UNSUPPORTED, f"{kind!r} is no type of patch")
        if body.get("action") not in ("ADD", "UPDATE", "REMOVE"):
            raise PatchError(UNSUPPORTED, f"action is ADD, UPDATE or REMOVE; it is {body.get('action')!r}")
    if not change.way and patches and all(body.get("hot_reload") for _, body in patches):
        return Change(change.hash, change.previous, patches, "hot")
    return change


class Generation:
    """A copy of a package's code and config, changed; `exchange` puts it in place, and the former one aside."""

    def __init__(self, app: Path, packages: Path, model_dir: str) -> None:
        """Copy what runs now. `model_dir` is the folder of the model's code in `app`."""
        self._app, self._packages = app, packages
        self._pairs = [
            (app / model_dir, app / KEEP / "model"),
            (packages, packages / KEEP / "packages"),
        ]
        self._config = (app / "config.yaml", app / KEEP / "config.yaml")
        self.discard()
        for place, copy in self._pairs:
            place.mkdir(exist_ok=True)
            files.copy(place, copy)
        self._config[1].write_bytes(self._config[0].read_bytes())

    def change(self, change: Change, environment: dict[str, str], python: str) -> None:
        """Make the changes of code and config on the copy, and those of variables in `environment`.

        Raises:
            PatchError: one of them cannot be made; none of them is.
        """
        try:
            for kind, body in change.patches:
                self._one(kind, body, environment, python)
        except (KeyError, TypeError, ValueError, OSError, binascii.Error, subprocess.CalledProcessError) as error:
            raise PatchError(RECOVERABLE, f"{type(error).__name__}: {error}") from error

    def _one(self, kind: str, body: dict[str, Any], environment: dict[str, str], python: str) -> None:
        if kind == "environment_variable":
            for name, value in body["item"].items():
                if body["action"] == "REMOVE":
                    environment.pop(name, None)
                else:
                    environment[name] = str(value)
        elif kind == "config":
            text = json.dumps(body["config"])
            command = [python, "-c", _MERGE, str(self._config[1])]
            subprocess.run(command, input=text, text=True, check=True, timeout=60, env=environment)
        else:
            write(self._pairs[0 if kind == "model_code" else 1][1], body)

    def exchange(self) -> None:
        """Put the copy where the package runs from, and what was there where the copy was; once more undoes it."""
        for place, copy in self._pairs:
            swap(place, copy)
        place, copy = self._config
        aside = copy.with_name("aside")
        place.replace(aside)
        copy.replace(place)
        aside.replace(copy)

    def discard(self) -> None:
        """Remove what is not in place."""
        files.remove(self._app / KEEP)
        files.remove(self._packages / KEEP)


def write(root: Path, body: dict[str, Any]) -> None:
    """Add, change or remove one file below `root`.

    Raises:
        ValueError: the path leaves it, or there is no content.
    """
    path = root / body["path"]
    if root.resolve() not in path.resolve().parents:
        raise ValueError(f"{body['path']!r} leaves the package's folder")
    if body["action"] == "REMOVE":
        files.remove(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    files.remove(path)  # a large file is a link to one that is not ours to write
    if body.get("content_bytes") is not None:
        path.write_bytes(base64.b64decode(body["content_bytes"], validate=True))
    elif isinstance(body.get("content"), str):
        path.write_bytes(body["content"].encode())
    else:
        raise ValueError(f"{body['path']}: there is no content")


def swap(one: Path, other: Path) -> None:
    """Exchange what two folders hold; the folders stay, since one may be a mount."""
    aside = other.with_name(other.name + ".aside")
    aside.mkdir()
    for source, target in ((one, aside), (other, one), (aside, other)):
        for entry in list(source.iterdir()):
            if entry.name != KEEP:
                entry.rename(target / entry.name)
    aside.rmdir()
