"""API keys: the Secrets that a spec selects → the one Secret that the pods mount, and a gateway before them.

The values pass through here as they came, base64, and are shown nowhere: not in a digest, a message or a repr.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llama_operator import names
from llama_operator.plan.objects import metadata
from llama_operator.plan.observed import Key, Object
from llama_operator.spec.model import LlamaDeploymentSpec

_VOLUME: Final = "api-keys"
_NAME: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys by their names, and the names that cannot be used, each with the reason."""

    data: Mapping[str, str] = field(repr=False)
    ignored: tuple[str, ...] = ()


def compiled(secrets: Sequence[Object]) -> ApiKeys:
    """Return the keys in these Secrets; of two that would have one name, the first in the order of the Secrets'."""
    data: dict[str, str] = {}
    ignored: list[str] = []
    for secret, key, value in _rows(secrets):
        name = f"{secret}.{key}"
        if name in data:
            ignored.append(f"{name} (another Secret's key has that name already)")
        elif not _NAME.fullmatch(name):
            ignored.append(f"{name[:60]}… (longer than 253 characters)")
        elif not value:
            ignored.append(f"{name} (empty)")
        else:
            data[name] = value
    return ApiKeys(data, tuple(ignored))


def _rows(secrets: Sequence[Object]) -> Iterator[tuple[str, str, str]]:
    for secret in sorted(secrets, key=lambda row: row["metadata"]["name"]):
        if names.LABEL_DEPLOYMENT in (secret["metadata"].get("labels") or {}):
            continue  # what is compiled is no source
        rows: Mapping[str, str] = secret.get("data") or {}
        for key, value in sorted(rows.items()):
            yield secret["metadata"]["name"], key, value


def required(spec: LlamaDeploymentSpec) -> bool:
    """Whether callers need a key."""
    return spec.auth.api_key_secret_selector is not None


def volumes(spec: LlamaDeploymentSpec, name: str) -> list[dict[str, Any]]:
    """Return the volume with the keys of the LlamaDeployment `name`, where callers need one."""
    # Optional: without the Secret the folder is empty, and nobody is let in.
    source = {"secretName": names.api_keys(name), "optional": True, "defaultMode": 0o440}
    return [{"name": _VOLUME, "secret": source}] if required(spec) else []


def mounts(spec: LlamaDeploymentSpec) -> list[dict[str, Any]]:
    """Return where a container has that volume."""
    return [{"name": _VOLUME, "mountPath": names.KEYS_DIR, "readOnly": True}] if required(spec) else []


def secret(keys: ApiKeys, key: Key, owner: Object) -> dict[str, Any]:
    """Return the Secret that the pods mount."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(key, names.api_keys(key.name), owner=owner),
        "type": "Opaque",
        "data": dict(keys.data),
    }
