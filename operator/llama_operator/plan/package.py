"""A package as its ConfigMap describes it: read once, so that all else of a plan finds what it needs in the spec."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from llama_operator import names
from llama_operator.errors import PackageError
from llama_operator.plan.history import Revision
from llama_operator.plan.observed import Object, Observed, Ref
from llama_operator.plan.settings import PackageSettings
from llama_operator.spec.model import LlamaDeploymentSpec
from llama_operator.spec.package import Package
from llama_operator.spec.source import ModelSource
from llama_packages import archive, secrets
from llama_packages.check import Finding, check, environment_of, part, python_of, secrets_of
from llama_packages.fields import TRUSS_VERSION

ENGINE: Final = "package"
"""The backend that stands in front of a package; nobody can write it."""

_SHORT: Final = 12


class SecretRef(NamedTuple):
    """Where a secret of a package comes from."""

    name: str
    secret: str
    key: str


class Resolved(Package):
    """A package with all that is known of it; `spec.package` of every spec that a plan is made of.

    `content` tells one content from another, `environment_key` one environment from another: it is None where the
    package has an image of its own. `executable` is the Python in `base_image`, None in the images of the settings.
    """

    content: str
    title: str
    warnings: tuple[Finding, ...] = ()
    runs_in: str
    executable: str | None = None
    own_base: bool = False
    environment_key: str | None = None
    variables: Mapping[str, str] = {}
    wanted_secrets: tuple[SecretRef, ...] = ()
    concurrency: int = 1


def config_map_ref(name: str) -> Ref:
    """Return the reference of a ConfigMap with a package."""
    return Ref("v1", "ConfigMap", name)


def of(spec: LlamaDeploymentSpec) -> Resolved | None:
    """Return the package that a resolved spec serves; None for a model."""
    return spec.package if isinstance(spec.package, Resolved) else None


def resolve(spec: LlamaDeploymentSpec, seen: Observed, settings: PackageSettings) -> LlamaDeploymentSpec:
    """Return the spec with what its package says; as it is for a model.

    Raises:
        PackageError: the package cannot be served, by its field and with the fix.
    """
    if spec.package is None or isinstance(spec.package, Resolved):
        return spec
    found = read(spec.package, seen.children, seen.key.name, settings)
    return spec.model_copy(
        update={
            "package": found,
            "model": ModelSource.none(found.title, found.content),
            "engine": spec.engine.model_copy(update={"name": ENGINE}),
        }
    )


def as_written(spec: LlamaDeploymentSpec) -> LlamaDeploymentSpec:
    """Return the spec as somebody wrote it: without what its package says."""
    package = of(spec)
    if package is None:
        return spec
    written = Package.model_validate(
        {name: getattr(package, name) for name in Package.model_fields if name in package.model_fields_set}
    )
    return spec.model_copy(
        update={
            "package": written,
            "model": ModelSource.none(),
            "engine": spec.engine.model_copy(update={"name": "native"}),
        }
    )


def read(package: Package, children: Mapping[Ref, Object], name: str, settings: PackageSettings) -> Resolved:
    """Return a package of the LlamaDeployment `name` with all that is known of it.

    Raises:
        PackageError: it is not there, or it cannot be served.
    """
    config, content, requirements = _contents(package, children)
    found = check(config)
    if found.refused:
        first, others = found.refused[0], [row.field for row in found.refused[1:]]
        also = f" (then also: {', '.join(others)})" if others else ""
        raise PackageError("PackageUnsupported", "spec.package", f"config.yaml: {first.field} {first.words}{also}")
    base = part(config, "base_image")
    runs_in = package.image or base.get("image") or _image(package, config, settings)
    key = None if package.image else _environment_key(package, config, requirements, runs_in, settings)
    return Resolved(
        **{field: getattr(package, field) for field in package.model_fields_set},
        content=content,
        title=str(config.get("model_name") or name),
        warnings=found.ignored,
        runs_in=runs_in,
        executable=base.get("python_executable_path") or None,
        own_base=bool(base.get("image")),
        environment_key=key,
        variables=environment_of(config),
        wanted_secrets=secret_refs(package, config),
        concurrency=part(config, "runtime").get("predict_concurrency") or 1,
    )


def secret_refs(package: Package, config: Mapping[str, Any]) -> tuple[SecretRef, ...]:
    """Return where the secrets that a config.yaml declares come from."""
    written = {row.name: (row.secret_name, row.key or row.name) for row in package.secrets}
    return tuple(SecretRef(name, *(written.get(name) or secrets.default(name))) for name in secrets_of(config))


def wanted_secrets(package: Package, found: Object | None) -> tuple[SecretRef, ...]:
    """Return the same of a ConfigMap that may be anything; nothing where it cannot be read."""
    try:
        return secret_refs(package, _contents(package, {} if found is None else {_ref(package): found})[0])
    except PackageError:
        return ()


def _ref(package: Package) -> Ref:
    return config_map_ref(package.config_map or "")


def _contents(package: Package, children: Mapping[Ref, Object]) -> tuple[Mapping[str, Any], str, str]:
    """Return what config.yaml says, what tells this content from another, and the text of requirements_file."""
    if package.config_map is None:
        return {}, (package.image or "").rpartition(":")[2], ""
    held = children.get(_ref(package))
    if held is None:
        raise PackageError(
            "PackageNotFound",
            "spec.package.configMap",
            f"there is no ConfigMap {package.config_map}: kubectl create configmap {package.config_map} "
            f"--from-file={archive.KEY} makes one of a package",
        )
    try:
        if package.claim is not None or package.image is not None:
            return _beside(package, held)
        return _whole(package, held)
    except archive.PackageError as error:
        raise PackageError("PackageInvalid", f"ConfigMap {package.config_map}", str(error)) from None


def _beside(package: Package, held: Object) -> tuple[Mapping[str, Any], str, str]:
    text: str | None = (held.get("data") or {}).get(archive.CONFIG)
    if text is None:
        raise archive.PackageError(f"it has no {archive.CONFIG} in data: put that of the package there")
    said = hashlib.sha256(text.encode()).hexdigest()
    content = package.digest or (package.image or "").rpartition(":")[2]
    # Whatever it is that changed, the pods have to be replaced.
    return archive.read_config(text), hashlib.sha256(f"{content} {said}".encode()).hexdigest(), content


def _whole(package: Package, held: Object) -> tuple[Mapping[str, Any], str, str]:
    encoded: str | None = (held.get("binaryData") or {}).get(archive.KEY)
    if encoded is None:
        keys = ", ".join(sorted({**(held.get("data") or {}), **(held.get("binaryData") or {})})) or "none"
        raise archive.PackageError(
            f"it has no {archive.KEY} in binaryData (its keys: {keys}): make it with --from-file={archive.KEY}"
        )
    config, content, requirements = _unpacked(encoded)
    if package.digest not in (None, content):
        raise archive.PackageError(
            f"it holds package {content[:_SHORT]}…, and spec.package.digest says {(package.digest or '')[:_SHORT]}…: "
            "correct one of them"
        )
    return config, content, requirements


@lru_cache(maxsize=8)
def _unpacked(encoded: str) -> tuple[Mapping[str, Any], str, str]:
    try:
        packed = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise archive.PackageError(f"{archive.KEY} is no base64") from None
    config = archive.unpack_config(packed)
    named = config.get("requirements_file")
    requirements = (
        archive.files(packed, only=str(named).removeprefix("./"))[str(named).removeprefix("./")] if named else b""
    )
    return config, archive.digest(packed), requirements.decode(errors="replace")


def _image(package: Package, config: Mapping[str, Any], settings: PackageSettings) -> str:
    python = package.python or python_of(config)
    if python not in settings.images:
        raise PackageError(
            "PackageUnsupported",
            "spec.package.python",
            f"the operator has no image with Python {python} (it has {', '.join(settings.images) or 'none'}): set one "
            "of these, or add the image to the chart's package.images",
        )
    return settings.images[python]


def _environment_key(
    package: Package, config: Mapping[str, Any], requirements: str, image: str, settings: PackageSettings
) -> str:
    """Return a digest of all that goes into an environment, whichever package asks for it."""
    said = (
        [str(row) for row in config.get("requirements") or ()],
        requirements,
        image,
        part(config, "base_image").get("python_executable_path"),
        package.index_url or settings.index_url,
        settings.wheelhouse_claim,
        TRUSS_VERSION,
    )
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def as_loaded(
    spec: LlamaDeploymentSpec, seen: Observed, settings: PackageSettings, before: Mapping[str, Any]
) -> tuple[LlamaDeploymentSpec, str] | None:
    """Return the spec with the package of a rollout of earlier, and its content; None if that is not there any more.

    Its pods then find the environment that is kept for them, or say that it is gone.
    """
    try:
        found = read(Package.model_validate(before.get("package")), seen.children, seen.key.name, settings)
    except (PackageError, ValidationError):
        return None
    model = ModelSource.none(found.title, found.content)
    return spec.model_copy(update={"package": found, "model": model}), found.content


def adopted(spec: LlamaDeploymentSpec, seen: Observed) -> Iterator[dict[str, Any]]:
    """Yield the ConfigMap of a package as one that goes with its LlamaDeployment, if its label says that it may."""
    package = of(spec)
    held = seen.children.get(_ref(package)) if package is not None else None
    if held is None or (held["metadata"].get("labels") or {}).get(names.LABEL_DEPLOYMENT) != seen.key.name:
        return
    owner = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": seen.key.name, "uid": seen.uid}
    metadata = {
        "name": held["metadata"]["name"],
        "namespace": seen.key.namespace,
        "labels": {names.LABEL_DEPLOYMENT: seen.key.name},
        "ownerReferences": [owner],
    }
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def kept(rows: Iterable[Revision]) -> Iterator[Ref]:
    """Yield the ConfigMaps of the rollouts that may be gone back to."""
    for row in rows:
        if name := (row.spec.get("package") or {}).get("configMap"):
            yield config_map_ref(name)
