"""What preflight asks and what it is told: the model as the Hub describes it, and what the cluster offers a pod.

Values only; `cluster.surveyor` fills them, `preflight` judges them. A fact that is None could not be had, which is
another thing than a fact that says no.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from llama_operator.plan.observed import NodeOffer, Object

PUBLIC_HUB: Final = "https://huggingface.co"

RefusalReason = Literal[
    "TokenMissing",
    "TokenRejected",
    "AccessDenied",
    "RepositoryNotFound",
    "RevisionNotFound",
    "NotAModel",
    "NoSafetensors",
    "NoTokenizer",
    "BrokenRepository",
    "UnsupportedArchitecture",
    "HubUnreachable",
    "HubTimedOut",
    "HubNameUnknown",
    "HubNotTrusted",
    "HubRateLimited",
    "HubFailing",
    "ProxyFailed",
    "NotAHub",
]
"""Why the Hub gives no facts; each is one of `status.reason.Reason` too."""

HUB_AWAY: Final = frozenset(
    {
        "HubUnreachable", "HubTimedOut", "HubNameUnknown", "HubNotTrusted", "HubRateLimited", "HubFailing",
        "ProxyFailed", "NotAHub",
    }
)  # fmt: skip
"""Those of a Hub that gives nothing to anybody, which says nothing of the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a model's config.json says; None where it does not say it, or says it in a form that is not known.

    `head_dim` is in elements, `context` in tokens; `dtype` is torch's name of the type that the weights are stored in,
    `quantization` the name of the method if they are quantized.
    """

    model_type: str | None = None
    architectures: tuple[str, ...] = ()
    layers: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    context: int | None = None
    dtype: str | None = None
    quantization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFact:
    """A revision of a model on the Hub.

    `parameters` counts the elements of each safetensors type (F16, BF16, ...), empty where the Hub has not counted
    them; `weight_bytes` is the size of the files with weights, `total_bytes` that of everything to be downloaded.
    `embeds` tells of files that make it a model of embeddings; `chat_template` is None where it is not known.
    """

    commit: str
    gated: bool
    licence: str | None
    parameters: Mapping[str, int]
    weight_bytes: int
    total_bytes: int
    shape: ModelShape
    embeds: bool = False
    chat_template: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRefusal:
    """Why the Hub gave no facts; `words` are short, safe to show, and never hold a token.

    `fix` says what to do, where that follows from what was found and not from the reason alone. `retry_after` is for
    how many seconds the Hub wants to be left alone.
    """

    reason: RefusalReason
    words: str
    fix: str = ""
    retry_after: float | None = None


HubAnswer = ModelFact | HubRefusal | None
"""None while the Hub is being asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to find out before a pod is created.

    `secret` is name and key of the Hub token's Secret, which may be absent; `pull_secrets` are the Secrets that a pod
    would pull its images with; `storage_class` is the class of a volume that is to be claimed, None for the default.
    Where the model does not come from a Hub, none is asked; `volume` is the claim that holds it then, if any.
    """

    endpoint: str
    repo: str
    revision: str
    secret: tuple[str, str]
    pull_secrets: tuple[str, ...] = ()
    storage_class: str | None = None
    asks_hub: bool = True
    volume: str | None = None
    priority_class: str | None = None
    runtime_class: str | None = None


def class_of(name: str | None, classes: Mapping[str, bool]) -> str | None:
    """Return the storage class that serves a claim of class `name`; None if it names none and there is no default."""
    return name or next((found for found, default in sorted(classes.items()) if default), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The answers. Lists are those of the namespace, or of the cluster; None where the operator may not read them.

    `storage_classes` tells for each whether it is the default; `volume_classes` are the classes of volumes that were
    made by hand and wait for a claim, "" for those of none; `absent_secrets` are the pull secrets that do not exist,
    `absent_classes` the priority and runtime classes;
    `volume_there` whether the claim with the model does.
    """

    model: HubAnswer = None
    nodes: tuple[NodeOffer, ...] | None = None
    quotas: tuple[Object, ...] | None = None
    limit_ranges: tuple[Object, ...] | None = None
    storage_classes: Mapping[str, bool] | None = None
    volume_classes: frozenset[str] = frozenset()
    absent_secrets: frozenset[str] = frozenset()
    absent_classes: frozenset[str] = frozenset()
    volume_there: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is there and what is taken of it: nodes, the pods of all namespaces, the quotas of this one.

    None where the operator may not read them, as pods where it watches some namespaces only.
    """

    nodes: tuple[NodeOffer, ...] | None = None
    pods: tuple[Object, ...] | None = None
    quotas: tuple[Object, ...] | None = None
