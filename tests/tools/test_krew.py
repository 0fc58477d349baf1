"""What krew installs: a manifest as krew documents it, and an archive whose command runs."""

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tools import krew

pytestmark = pytest.mark.slow
# https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest and the checks of krew's own validate-krew-manifest.
SELECTOR: dict[str, Any] = {
    "type": "object",
    "properties": {"matchLabels": {"type": "object"}, "matchExpressions": {"type": "array", "minItems": 1}},
    "additionalProperties": False,
    "minProperties": 1,
}
PLATFORM: dict[str, Any] = {
    "type": "object",
    "required": ["selector", "uri", "sha256", "bin"],
    "additionalProperties": False,
    "properties": {
        "selector": SELECTOR,
        "uri": {"type": "string", "pattern": r"^https://.+\.(tar\.gz|zip)$"},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "bin": {"type": "string", "pattern": "^[^/].*$"},
        "files": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["from", "to"]}},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "krew.googlecontainertools.github.com/v1alpha2"},
        "kind": {"const": "Plugin"},
        "metadata": {"type": "object", "properties": {"name": {"pattern": "^[a-z0-9][a-z0-9-]*$"}}},
        "spec": {
            "type": "object",
            "required": ["version", "homepage", "shortDescription", "platforms"],
            "additionalProperties": False,
            "properties": {
                "version": {"type": "string", "pattern": r"^v\d+\.\d+\.\d+"},
                "homepage": {"type": "string", "pattern": "^https://"},
                # One line, no full stop, and kubectl is known to be meant.
                "shortDescription": {"type": "string", "maxLength": 50, "pattern": r"^[^\n]*[^.\n]$"},
                "description": {"type": "string"},
                "caveats": {"type": "string"},
                "platforms": {"type": "array", "minItems": 1, "items": PLATFORM},
            },
        },
    },
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a release writes."""
    out = tmp_path_factory.mktemp("krew")
    krew.main(["--url", "https://releases.example/v0.1.0/", "--out", str(out)], standalone_mode=False)
    return out


def test_the_manifest_is_as_krew_documents_it(released: Path) -> None:
    """Its archive is the one beside it, and holds every file that it names."""
    found = yaml.safe_load((released / "llama.yaml").read_text())
    jsonschema.validate(found, SCHEMA)
    (platform,) = found["spec"]["platforms"]
    archive = released / platform["uri"].rpartition("/")[2]
    assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[0] for name in tar.getnames()}
    assert {row["from"] for row in platform["files"]} == names
    assert platform["bin"] in names


def test_the_archives_command_runs(released: Path, tmp_path: Path) -> None:
    """Through a link, as krew makes one; without uv it says what is missing."""
    (archive,) = released.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "store", filter="data")
    link = tmp_path / "kubectl-llama"
    link.symlink_to("store/kubectl-llama")
    uv = Path.home() / ".cache" / "llama-operator" / "uv" / "bin"
    env = {**os.environ, "PATH": f"{uv}:{os.environ['PATH']}"}
    done = subprocess.run([link, "--version"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, krew.version() in done.stdout) == (0, True), done.stderr
    without = subprocess.run([link, "list"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert without.returncode == 7
    assert "uv" in without.stderr
