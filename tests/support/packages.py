"""Truss packages for tests: ConfigMaps with them, and what a cluster holds of one."""

import base64
import io
import tarfile
from collections.abc import Mapping
from typing import Any

import yaml

from llama_operator import names
from llama_operator.plan.settings import PackageSettings
from llama_packages import archive

MODEL = "class Model:\n    def predict(self, request):\n        return request\n"
PACKAGES = PackageSettings(builder_image="builder:1", images={"3.11": "python:3.11", "3.13": "python:3.13"})


def packed(config: Mapping[str, Any] | str, **files: str) -> bytes:
    """The archive of a package: its config.yaml, and model/model.py unless there are other files."""
    text = config if isinstance(config, str) else yaml.safe_dump(dict(config))
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz") as made:
        for name, content in {"config.yaml": text, **(files or {"model/model.py": MODEL})}.items():
            row = tarfile.TarInfo(name)
            row.size = len(content.encode())
            made.addfile(row, io.BytesIO(content.encode()))
    return found.getvalue()


def config_map(
    config: Mapping[str, Any] | str | None = None, *, name: str = "chat", of: str | None = None, content: bytes = b""
) -> dict[str, Any]:
    """A ConfigMap with a package; `of` is the LlamaDeployment that its label says."""
    held = content or packed({"model_name": "chat", "python_version": "py311"} if config is None else config)
    labels = {} if of is None else {names.LABEL_DEPLOYMENT: of}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels, "uid": f"uid-of-{name}"},
        "binaryData": {archive.KEY: base64.b64encode(held).decode()},
    }
