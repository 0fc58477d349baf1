"""A Truss package's folder → the ConfigMap that holds it and the LlamaDeployment that serves it. Pure, but for reading.

What of config.yaml holds, and what does not, `llama_packages` says, for the operator as well.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import yaml

from kubectl_llama.ask import resource
from kubectl_llama.ask.resource import Object
from kubectl_llama.errors import RefusedError, UsageError
from llama_operator import names
from llama_packages import accelerator, archive, check
from llama_packages.check import Finding

MAX_KIB: Final = archive.MAX_BYTES // 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A folder as it is to be pushed: its archive, what config.yaml says, and what of that is left aside."""

    folder: Path
    archive: bytes
    config: Mapping[str, Any]
    ignored: tuple[Finding, ...]

    @property
    def digest(self) -> str:
        """The digest of the archive."""
        return archive.digest(self.archive)


def opened(folder: Path) -> Package:
    """Return the package in a folder.

    Raises:
        RefusedError: with the field of config.yaml, or what is too large; nothing was created.
    """
    try:
        packed = archive.pack(folder)
        config = archive.unpack_config(packed)
    except archive.PackageError as error:
        raise RefusedError(str(error), field="config.yaml", code="PackageInvalid") from None
    found = check.check(config)
    if found.refused:
        said = "; ".join(f"{row.field} {row.words}" for row in found.refused)
        fix = instead(config)
        raise RefusedError(f"config.yaml: {said}", field=found.refused[0].field, code="PackageUnsupported", fix=fix)
    if len(packed) > archive.MAX_BYTES:
        fix = "leave files out by .truss_ignore, or put the folder on a volume: spec.package.claim"
        what = f"the package is {len(packed) // 1024} KiB packed, and a ConfigMap holds {MAX_KIB}"
        raise RefusedError(what, fix=fix, code="PackageTooLarge")
    return Package(folder=folder, archive=packed, config=config, ignored=found.ignored)


def deployment(
    package: Package,
    *,
    name: str | None = None,
    gpu: str | None = None,
    python: str | None = None,
    index_url: str | None = None,
    image: str | None = None,
    secrets: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Object:
    """Return the LlamaDeployment of a package.

    Raises:
        UsageError: if a flag does not say what is meant.
    """
    called = str(package.config.get("model_name") or package.folder.resolve().name)
    named = resource.named(name or resource.label(called))
    fields: dict[str, Any] = {"configMap": config_map_name(named, package.digest)}
    fields |= {"image": image} if image else {"digest": package.digest}
    if python:
        fields["python"] = python
    if index_url:
        fields["indexUrl"] = index_url
    if secrets:
        fields["secrets"] = [_secret(row) for row in secrets]
    return resource.changed(
        {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": named},
            "spec": {"package": fields, "resources": _resources(package.config, gpu)},
        },
        sets,
    )


def instead(config: Mapping[str, Any]) -> str:
    """Return the command that serves the model of a TensorRT-LLM decoder by our engines; empty where there is none."""
    build = _part(_part(config, "trt_llm"), "build")
    source = _part(build, "checkpoint_repository")
    if build.get("base_model") == "encoder" or source.get("source") != "HF" or not source.get("repo"):
        return ""
    count = build.get("tensor_parallel_count") or 1
    try:
        found = accelerator.parse(_part(config, "resources").get("accelerator"))
    except ValueError:
        found = None
    words = ["kubectl llama push", f"--model {source['repo']}", f"--gpu {f'{found.product}:' if found else ''}{count}"]
    fields = {"engine.maxContextTokens": "max_seq_len", "engine.maxConcurrentSequences": "max_batch_size"}
    words += [f"--revision {source['revision']}"] if source.get("revision") else []
    words += [f"--set {path}={build[name]}" for path, name in fields.items() if build.get(name)]
    return " ".join(words)


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def config_map_name(name: str, digest: str) -> str:
    """Return the name of the ConfigMap of one content of a package."""
    return f"{name}-package-{digest[:10]}"


def config_map(package: Package, body: Object) -> Object:
    """Return the ConfigMap with the archive, or of an image config.yaml alone; the operator adopts and deletes it."""
    metadata = body["metadata"]
    if body["spec"]["package"].get("image"):
        text = yaml.safe_dump(dict(package.config), sort_keys=False, allow_unicode=True)
        content: dict[str, Any] = {"data": {archive.CONFIG: text}}
    else:
        content = {"binaryData": {archive.KEY: base64.b64encode(package.archive).decode()}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(metadata["name"], package.digest),
            "namespace": metadata["namespace"],
            "labels": {names.LABEL_DEPLOYMENT: metadata["name"]},
        },
        "immutable": True,
        **content,
    }


def secret_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the secrets that config.yaml declares."""
    return check.secrets_of(config)


def example(config: Mapping[str, Any]) -> Any:  # noqa: ANN401  (whatever the package takes)
    """Return the input that the package gives as an example; None if it gives none."""
    return _part(config, "model_metadata").get("example_model_input")


def _resources(config: Mapping[str, Any], gpu: str | None) -> Object:
    rows = _part(config, "resources")
    found = accelerator.parse(rows.get("accelerator"))
    if gpu is not None:
        gpus = resource.gpus(gpu)
    elif found is None:
        gpus = {"count": 0}
    else:
        gpus = {"count": found.count, "product": found.product, "resourceName": found.resource_name}
    memory = {"memory": rows["memory"], "memoryLimit": rows["memory"]} if rows.get("memory") else {}
    return {"gpu": gpus, **({"cpu": str(rows["cpu"])} if rows.get("cpu") else {}), **memory}


def _secret(row: str) -> Object:
    name, equals, where = row.partition("=")
    secret, _, key = where.partition("/")
    if not (name and equals and secret):
        fix = "write NAME=SECRET or NAME=SECRET/KEY: where the package's secret NAME comes from"
        raise UsageError("--secret does not say where a secret comes from", fix=fix, field="--secret")
    return {"name": name, "secretName": secret, **({"key": key} if key else {})}
