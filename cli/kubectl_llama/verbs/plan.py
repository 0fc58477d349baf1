"""`plan`: what a push would create, and whether this cluster can hold it."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from kubectl_llama import options
from kubectl_llama.ask import package, planning, resource
from kubectl_llama.ask.operator_settings import read_settings
from kubectl_llama.edge import terminal
from kubectl_llama.edge.hub import Hub
from kubectl_llama.edge.kinds import (
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    LIMIT_RANGE,
    NODE,
    NODE_POOL,
    POD,
    QUOTA,
    SECRET,
    STORAGE_CLASS,
    Kind,
)
from kubectl_llama.edge.kube import Object
from kubectl_llama.errors import ClusterError, NotFoundError
from kubectl_llama.verbs.pushed import pushed, pushed_flags
from llama_operator.names import OPERATOR_APP
from llama_operator.plan.observed import NodeOffer, SecretFact
from llama_operator.plan.offers import offer
from llama_operator.plan.package import wanted_secrets
from llama_operator.plan.settings import PlanSettings
from llama_operator.plan.source import token_secret
from llama_operator.plan.survey import HubAnswer, HubRefusal, Question, Survey
from llama_operator.spec.model import LlamaDeploymentSpec

T = TypeVar("T")
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_RUNNING: Final = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"


@click.command()
@pushed_flags
@click.option("--gpu-hour-price", type=click.FloatRange(0), metavar="PRICE", help="Price of a GPU for an hour.")
@click.option("--hub/--no-hub", default=True, help="Ask the Hub about the model (the default), or do not.")
@options.output_flag("json", "yaml")
@options.kubectl_flags
def command(*, gpu_hour_price: float | None, hub: bool, **given: Any) -> None:  # noqa: ANN401  (click's own values)
    """Say what a push would create, and whether this cluster can hold it.

    The objects, the checks of preflight with the GPU memory and its numbers, whether there is room now, later or never,
    and what an hour costs. Nothing is created. Exits with 4 when a push would be refused.

    \b
    kubectl llama plan --model meta-llama/Llama-2-70b-chat-hf --gpu A100:2 --gpu-hour-price 3.50
    """
    asked = pushed(given)
    body = resource.placed(asked.body, options.namespace())
    spec = resource.checked(body)
    settings, comes = _settings()
    secret_name, secret_key = token_secret(spec)
    secret = _secret(secret_name) if spec.package is None else None
    archive = package.config_map(asked.package, body) if asked.package is not None else _archive(spec)
    sources = {row.secret for row in wanted_secrets(spec.package, archive)} if spec.package is not None else ()
    draft = planning.draft(
        spec,
        body,
        _fact(secret_name, secret) if spec.package is None else None,
        settings,
        datetime.now(UTC),
        archive=archive,
        secrets=[_fact(name, _secret(name)) for name in sorted(sources)],
    )
    question = draft.case.question
    model = (
        Hub(options.cluster(), question.endpoint, _token(secret, secret_key)).ask(question)
        if hub and question.asks_hub
        else None
    )
    if isinstance(model, HubRefusal) and model.reason == "HubUnreachable":
        model = None  # from here: the cluster may reach it
    pods = _if_allowed(lambda: options.cluster().list(POD, fields=_RUNNING))
    found = planning.decide(draft, _survey(question, model), pods, on_demand=comes, price=gpu_hour_price)
    error = found.refusal()
    for fault in asked.faults:
        terminal.say(f"warning: {fault}")
    form = options.state().output
    if form:
        terminal.document({**found.as_json(body), **(error.as_json() if error else {})}, form)
    else:
        terminal.result("\n".join(found.lines(body)))
    if error is not None:
        error.told = bool(form)
        raise error


def _secret(name: str) -> Object | None:
    return _if_allowed(lambda: options.cluster().get(SECRET, name, options.namespace()))


def _archive(spec: LlamaDeploymentSpec) -> Object | None:
    """Return the ConfigMap of a package that is in the cluster already."""
    name = spec.package.config_map if spec.package is not None else None
    return _if_allowed(lambda: options.cluster().get(CONFIG_MAP, name, options.namespace())) if name else None


def _if_allowed(reading: Callable[[], T]) -> T | None:
    """Return what may be read; a fact that may not be is unknown, and holds nothing up."""
    try:
        return reading()
    except NotFoundError:  # a kind that the cluster does not know
        return None
    except ClusterError as error:
        if error.code != "Forbidden":
            raise
        return None


def _settings() -> tuple[PlanSettings, str | None]:
    """Return the settings of the operator that runs, as far as they may be read, and what adds nodes on demand."""
    labels = f"app.kubernetes.io/name={OPERATOR_APP}"
    rows = _if_allowed(lambda: options.cluster().list(DEPLOYMENT, labels=labels)) or ()
    settings = read_settings(rows[0] if rows else None)
    if settings.nodes_on_demand:
        return settings, "an autoscaler of nodes"
    if _if_allowed(lambda: options.cluster().list(NODE_POOL)):
        return settings, "Karpenter"
    if _if_allowed(lambda: options.cluster().get(CONFIG_MAP, "cluster-autoscaler-status", "kube-system")):
        return settings, "the cluster autoscaler"
    return settings, None


def _survey(question: Question, model: HubAnswer) -> Survey:
    cluster, place = options.cluster(), options.namespace()
    nodes = _if_allowed(lambda: cluster.list(NODE))
    offers: tuple[NodeOffer, ...] | None = None if nodes is None else tuple(map(offer, nodes))
    quotas = _if_allowed(lambda: cluster.list(QUOTA, place))
    ranges = _if_allowed(lambda: cluster.list(LIMIT_RANGE, place))
    classes = _if_allowed(lambda: cluster.list(STORAGE_CLASS))
    absent = [name for name in question.pull_secrets if _is_absent(SECRET, name)]
    return Survey(
        model=model,
        nodes=offers,
        quotas=None if quotas is None else tuple(quotas),
        limit_ranges=None if ranges is None else tuple(ranges),
        storage_classes=None if classes is None else {row["metadata"]["name"]: _is_default(row) for row in classes},
        absent_secrets=frozenset(absent),
        volume_there=question.volume is None or not _is_absent(CLAIM, question.volume),
    )


def _is_absent(kind: Kind, name: str) -> bool:
    """Whether there surely is no such object; what may not be read may be there."""
    found = _if_allowed(lambda: (options.cluster().get(kind, name, options.namespace()),))
    return found == (None,)


def _is_default(row: Object) -> bool:
    return (row["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def _fact(name: str, secret: Object | None) -> SecretFact:
    data = (secret or {}).get("data") or {}
    return SecretFact(name=name, exists=secret is not None, keys=frozenset(data))


def _token(secret: Object | None, key: str) -> str | None:
    written = ((secret or {}).get("data") or {}).get(key)
    try:
        return base64.b64decode(written).decode().strip() or None if written else None
    except (binascii.Error, UnicodeDecodeError):
        return None
