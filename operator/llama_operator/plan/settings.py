"""What the operator's own settings say about every LlamaDeployment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSettings:
    """What the operator's settings say about packages.

    `builder_image` makes environments; `images` are those of each Python, by version; `index_url` is a package index
    for specs that name none; `wheelhouse_claim` a PVC with wheels, in each namespace with a package.
    """

    builder_image: str = "package-builder"
    images: Mapping[str, str] = field(default_factory=dict[str, str])
    index_url: str | None = None
    wheelhouse_claim: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """The part of the operator's settings that ends up in objects, or decides about them.

    `inference_image` serves where a spec names no image; `gateway_image` is the operator's own; `gateway_enabled` tells
    whether models may sleep; `hub_endpoint` is a Hub mirror for specs that name none; `nodes_on_demand` tells that
    nodes are added when pods wait for them; `stall_seconds` is how long a download may bring no byte before that is
    told; `recheck_seconds` how soon preflight looks again at what it holds; `namespace` is the operator's own;
    `packages` is what is said about packages.
    """

    inference_image: str
    gateway_image: str = "llama-operator"
    gateway_enabled: bool = True
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    hub_endpoint: str | None = None
    nodes_on_demand: bool = False
    namespace: str = "default"
    stall_seconds: float = 120.0
    recheck_seconds: float = 3.0
    packages: PackageSettings = PackageSettings()
