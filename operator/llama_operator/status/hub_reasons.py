"""The reasons of Hubs that give nothing, and of repositories that are nothing to serve."""

from collections.abc import Mapping
from typing import Final

from llama_operator.spec.status import ConditionType
from llama_operator.status.entry import Entry
from llama_operator.status.reason import Reason

_CACHE: Final[tuple[ConditionType, ...]] = ("ModelCached", "PreflightPassed")

HUB: Final[Mapping[Reason, Entry]] = {
    Reason.HUB_UNREACHABLE: Entry(
        _CACHE,
        "There is no connection to the Hub.",
        "Nothing listens at spec.model.endpoint, or no way leads out of the cluster.",
        "Open the way, or name a mirror in spec.model.endpoint.",
    ),
    Reason.HUB_TIMED_OUT: Entry(
        _CACHE,
        "The Hub says nothing in time.",
        "A firewall or a network policy drops what is sent to it.",
        "Let the cluster reach it, name a proxy in HTTPS_PROXY, or a mirror in spec.model.endpoint.",
    ),
    Reason.HUB_NAME_UNKNOWN: Entry(
        _CACHE,
        "The cluster's DNS does not know the Hub's name.",
        "A typing error in spec.model.endpoint, or a DNS that resolves no names outside the cluster.",
        "Correct spec.model.endpoint, or let the DNS resolve it.",
    ),
    Reason.HUB_NOT_TRUSTED: Entry(
        _CACHE,
        "The Hub's certificate is refused, or it speaks no TLS.",
        "A mirror, or a proxy that looks into TLS, with an authority of its own; https where it speaks http.",
        "Give operator and pods that authority in SSL_CERT_FILE, or correct spec.model.endpoint.",
    ),
    Reason.PROXY_FAILED: Entry(
        _CACHE,
        "The proxy on the way to the Hub does not let through.",
        "A wrong HTTPS_PROXY, or a proxy that wants a password or forbids the Hub.",
        "Correct HTTPS_PROXY, or except the Hub in NO_PROXY; for the operator and for the pods, in spec.podTemplate.",
    ),
    Reason.HUB_RATE_LIMITED: Entry(
        _CACHE,
        "The Hub limits how often it is asked (429); it is asked again when it said.",
        "Many requests from one address, or with one token.",
        "Wait; a token raises the limit of requests without one.",
    ),
    Reason.HUB_FAILING: Entry(
        _CACHE,
        "The Hub answers that it has failed (5xx).",
        "Trouble of its own.",
        "Wait; it is tried again by itself. Or name a mirror in spec.model.endpoint.",
    ),
    Reason.NOT_A_HUB: Entry(
        _CACHE,
        "What answers is no Hub.",
        "spec.model.endpoint leads somewhere else; or a proxy's or a network's own page.",
        "Correct spec.model.endpoint; curl it from a pod to see what answers.",
    ),
    Reason.NOT_A_MODEL: Entry(
        _CACHE,
        "The repository is no model: an adapter (LoRA), models in folders, a pipeline for pictures, a dataset.",
        "Repositories of these kinds stand on the Hub beside the models that they belong to.",
        "Name what the message says; an adapter is merged into its model first.",
    ),
    Reason.NO_SAFETENSORS: Entry(
        _CACHE,
        "The repository has no weights in safetensors as transformers saves them.",
        "Pickled weights, which can run code when loaded, or another program's format, such as GGUF.",
        "Use a repository or revision with safetensors, or convert it.",
    ),
    Reason.NO_TOKENIZER: Entry(
        _CACHE,
        "The repository has weights and no tokenizer.",
        "Only the weights were uploaded.",
        "Use a repository or revision that has one.",
    ),
    Reason.BROKEN_REPOSITORY: Entry(
        _CACHE,
        "A file of the repository is not what it has to be, or one that another names is not there.",
        "An upload that broke off, or was edited by hand.",
        "Name another revision in spec.model.revision, or another repository.",
    ),
}
